// Picks providers for others' calls: one on the board that is coolest. A caller chooses it as `service/coolest`:
//   wayfare run coolest.js --allow-serve coolest
//   wayfare call service/calc double 21 --choose service/coolest
const wayfare = require('wayfare');

const heat = (candidate) => candidate.temperature_millidegrees ?? Infinity;

wayfare.serve('coolest', (call) => {
  if (call.function !== 'pick') throw new wayfare.WayfareError({ kind: 'not-found', reason: "there is 'pick'" });
  const { candidates } = call.json();
  // Of equals the last.
  return candidates.reduce((best, one) => (heat(one) <= heat(best) ? one : best)).program;
});
