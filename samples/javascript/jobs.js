// A queue of work, and workers that come and go, as the sample `jobs` has it, with which it can be mixed:
//   wayfare run jobs.js --allow-serve steps -- work steps
//   wayfare run jobs.js --allow-call service/steps -- give service/steps 100
// What `give` prints does not depend on who worked, and where.
const wayfare = require('wayfare');

const DEADLINE_MS = 60_000;
// That one job is given to workers who do not end it.
const ATTEMPTS_MAX = 100;
// A job's number times this is the number up to which it counts.
const SIZE = 200;

// How many steps a number takes to come to 1, as L. Collatz has it.
function steps(number) {
  let count = 0;
  while (number > 1) {
    number = number % 2 === 0 ? number / 2 : 3 * number + 1;
    count++;
  }
  return count;
}

async function work(service) {
  await wayfare.serve(service, (call) => {
    const job = Number(call.text);
    if (call.function !== 'steps' || !Number.isInteger(job) || job < 0 || job > 1000) {
      throw new wayfare.WayfareError({ kind: 'refused', reason: "'steps' with a number up to 1000 is expected" });
    }
    let sum = 0;
    for (let number = 1; number <= job * SIZE; number++) sum += steps(number);
    return String(sum);
  });
  console.log('works');
}

// The line that is printed of a job. It may be done twice: a worker that has forgotten it is asked again.
async function end(address, job) {
  for (let attempt = 0; attempt < ATTEMPTS_MAX; attempt++) {
    try {
      return `job ${job}: ${await wayfare.call(address, 'steps', String(job), { timeout: DEADLINE_MS, idempotent: true })}`;
    } catch (error) {
      // Otherwise the worker has left.
      if (error.kind !== 'unavailable' && error.kind !== 'deadline-exceeded') return `job ${job}: ${error.message}`;
    }
  }
  return `job ${job}: nobody has ended it`;
}

async function give(address, jobs, atOnce) {
  const given = [];
  for (let job = 1; job <= jobs; job++) {
    if (given.length >= atOnce) console.log(await given.shift());
    given.push(end(address, job));
  }
  for (const line of given) console.log(await line);
}

const [verb, at, jobs = 100, atOnce = 10] = process.argv.slice(2);
if (verb === 'work' && at !== undefined) {
  work(at);
} else if (verb === 'give' && at !== undefined && jobs >= 1 && atOnce >= 1 && atOnce <= 100) {
  give(at, Number(jobs), Number(atOnce));
} else {
  console.error('usage: jobs.js give <address> [jobs=100] [at_once=10]\n       jobs.js work <service>');
  process.exitCode = 2;
}
