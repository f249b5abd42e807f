// The open alarms as the head-end groups them: by cause and time, so that a storm is one line. Whenever one changes they
// are fetched anew, at once, but not more often than the head-end answers easily.

import * as api from '../api/client';
import type { AlarmGroup } from '../api/types';

/** Between two fetches at least, milliseconds, and at least so many times as long as the last one took. */
const PAUSE = 150;
const RATIO = 4;

export class Alarms {
  groups: AlarmGroup[] = $state.raw([]);
  /** Rises whenever something about an alarm changed: what shows single alarms fetches them anew. */
  version = $state(0);

  /** Alarms that nobody has acknowledged. */
  unacknowledged: number = $derived(this.groups.reduce((sum, group) => sum + group.unacknowledged, 0));

  private fetching = false;
  private again = false;
  private timer: ReturnType<typeof setTimeout> | undefined;
  private notBefore = 0;

  /** Fetches the groups; a failure is the caller's. */
  async load(): Promise<void> {
    this.groups = await api.alarmGroups();
    this.version += 1;
  }

  /** Fetches the groups soon, once for all that happens meanwhile. */
  refresh(): void {
    if (this.fetching) {
      this.again = true;
      return;
    }
    if (this.timer !== undefined) return;
    const pause = Math.max(0, this.notBefore - performance.now());
    if (pause === 0) void this.fetch();
    else this.timer = setTimeout(() => void this.fetch(), pause);
  }

  private async fetch(): Promise<void> {
    clearTimeout(this.timer);
    this.timer = undefined;
    this.fetching = true;
    const began = performance.now();
    try {
      await this.load();
    } catch (error) {
      // A broken connection shows itself elsewhere, and everything is fetched anew after it.
      console.debug('The alarms could not be fetched:', error);
    }
    const now = performance.now();
    this.notBefore = now + Math.max(PAUSE, RATIO * (now - began));
    this.fetching = false;
    if (this.again) {
      this.again = false;
      this.refresh();
    }
  }
}

/** Who the person at this browser says they are; kept for the next time. */
export class Person {
  name = $state(stored());

  remember(): void {
    try {
      localStorage.setItem(NAME, this.name.trim());
    } catch {
      // A browser that keeps nothing asks again.
    }
  }
}

export const person = new Person();

const NAME = 'meterseal-name';

function stored(): string {
  try {
    return localStorage.getItem(NAME) ?? '';
  } catch {
    return '';
  }
}
