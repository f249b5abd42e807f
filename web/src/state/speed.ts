// How fast a simulated clock runs, found from the readings themselves: site time passed by wall time passed.

/** Readings that the estimate rests on: ten seconds' worth even out the network's jitter. */
const KEPT = 10;

export class SpeedEstimate {
  private readings: { at: number; receivedAt: number }[] = [];

  /** Takes one reading's site time and wall time, milliseconds, and gives the speed once two readings are there. */
  add(at: number, receivedAt: number): number | null {
    const last = this.readings[this.readings.length - 1];
    if (last && (at <= last.at || receivedAt <= last.receivedAt)) this.readings = [];
    this.readings.push({ at, receivedAt });
    if (this.readings.length > KEPT) this.readings.shift();
    const first = this.readings[0];
    if (!first || this.readings.length < 3) return null;
    return tidy((at - first.at) / (receivedAt - first.receivedAt));
  }
}

/** To two digits: what is left of the jitter does not make the label flicker. */
function tidy(speed: number): number {
  return speed < 10 ? Math.round(speed * 10) / 10 : Number(speed.toPrecision(2));
}
