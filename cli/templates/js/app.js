// Counts, once a second. Move it while it runs: it goes on counting where it was.
//   wayfare run . --follow
const wayfare = require('wayfare');

let count = 0;
const timer = setInterval(() => {
  count += 1;
  console.log(`hello ${count}, from ${wayfare.me().engine}`);
  // As often as the first argument says; for ever without one.
  if (count === Number(process.argv[2])) clearInterval(timer);
}, 1000);
