// What the stages share: each takes messages from a topic in order, one after the other, until an empty one ends the stream.
import wayfare from 'wayfare';

/** The stages' names, the last first: each begins when the one behind it listens. */
export const AFTER = { source: ['etl'], etl: ['stats', 'pred'], stats: [], pred: [] };

/** Waits for the stages behind this one. */
async function listening(name) {
  for (const next of AFTER[name]) {
    for (;;) {
      try {
        await wayfare.call(`service/riot-${next}`, 'ready');
        break;
      } catch (error) {
        if (!['unavailable', 'not-found', 'deadline-exceeded', 'timeout'].includes(error.kind)) throw error;
        await new Promise((resolve) => setTimeout(resolve, 200));
      }
    }
  }
}

export const publish = (topic, value) => wayfare.publish(topic, JSON.stringify(value));
export const end = (topic) => wayfare.publish(topic, '');

/** Runs a stage: what comes on `topic`, parsed. */
export async function* stream(name, topic) {
  const messages = wayfare.subscribe(topic);
  await messages.ready;
  await listening(name);
  await wayfare.serve(`riot-${name}`, () => 'ready');
  for await (const message of messages) {
    if (message.text === '') return;
    yield message.json();
  }
}

/** Ends the program: whoever provides a service would otherwise wait for calls for ever. */
export const done = () => process.exit(0);

export { listening };
