import { expect, test } from 'vitest';
import { clockOrStamp, count, direction, fixed, kilowattHours, significant, span } from './format';

test('numbers are grouped, signed with a true minus, and never "−0"', () => {
  expect(fixed(1234567.891, 1)).toBe('1\u202f234\u202f567.9');
  expect(fixed(-12.345, 2)).toBe('\u221212.35');
  expect(fixed(-0.001, 2)).toBe('0.00');
  expect(fixed(Number.NaN, 2)).toBe('–');
});

test('an extreme keeps three digits whatever its size', () => {
  expect([0.31234, 48.61, 4021.4, -2.5, 0].map(significant)).toEqual(['0.312', '48.6', '4\u202f021', '\u22122.50', '0']);
});

test('a register is cut, never rounded up', () => {
  expect(kilowattHours(1234.59)).toEqual({ whole: '1', fraction: '.2345' });
  expect(kilowattHours(0.3)).toEqual({ whole: '0', fraction: '.0003' });
  expect(kilowattHours(1234.5)).toEqual({ whole: '1', fraction: '.2345' });
});

test('a flow below half a watt has no direction', () => {
  expect([0.4, -0.4, 0.6, -0.6].map(direction)).toEqual(['idle', 'idle', 'import', 'export']);
});

test('times of another day say so', () => {
  expect(clockOrStamp('2026-11-22T14:03:22Z', '2026-11-22T23:00:00Z')).toBe('14:03:22');
  expect(clockOrStamp('2026-11-21T14:03:22Z', '2026-11-22T23:00:00Z')).toBe('21 Nov 14:03:22');
});

test('spans and counts read as a person says them', () => {
  expect([900, 61_000, 7_200_000, 200_000_000].map(span)).toEqual(['0\u00a0s', '1\u00a0min', '2\u00a0h', '2\u00a0d']);
  expect([count(1, 'alarm'), count(3, 'alarm')]).toEqual(['1\u00a0alarm', '3\u00a0alarms']);
});
