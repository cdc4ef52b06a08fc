/** Messages, calls, values and devices for programs that run on Wayfare. */
declare module "wayfare" {
  export type Bytes = string | ArrayBufferView | ArrayBuffer;

  /** An action that was refused. The book's page "Lines" lists the kinds. */
  export class WayfareError extends Error {
    readonly kind: string;
    readonly reason: string;
    /** That the value has, where it is another than was expected. */
    readonly version?: number;
  }

  export interface Message {
    readonly topic: string;
    readonly payload: Buffer;
    readonly text: string;
    readonly retained: boolean;
    /** The id of the program that published it, if it was one. */
    readonly sender?: string;
    readonly isRequest: boolean;
    /** What the sender of a message to an address said with `send`. */
    readonly type?: string;
    readonly order?: string;
    /** Of messages that are ordered by this one's key, the next may come. */
    handled(): Promise<void>;
    json(): unknown;
    reply(payload: Bytes): Promise<void>;
  }

  /** A call of a service of this program's. */
  export interface Call {
    /** The address that was called, such as service/calc. */
    readonly address: string;
    readonly function: string;
    /** The arguments. */
    readonly payload: Buffer;
    readonly text: string;
    /** The id of the caller. */
    readonly sender?: string;
    /** Whether the caller does not wait for the end any longer. */
    readonly isCancelled: boolean;
    json(): unknown;
    /** Tells the caller how far the call is, if it takes that. */
    progress(payload: Bytes): Promise<void>;
    /** Has a function at another address called in its place. What the handler returns is of no matter then. */
    handOn(address: string, name: string, payload?: Bytes, options?: { timeout?: number }): Promise<void>;
    onCancel(callback: () => void): void;
  }

  /** What functions a service has. `$defs` has what its JSON Schemas refer to, as "#/$defs/NAME". The book's page "Calls" says more. */
  export interface Schema {
    description?: string;
    functions?: Record<string, { description?: string; arguments?: object; result?: object; progress?: object }>;
    $defs?: Record<string, object>;
  }

  /** A call that a mailbox has sorted. It is answered or fails once. */
  export interface MailboxCall extends Call {
    answer(result?: Bytes): void;
    fail(kind: string, reason: string): void;
  }

  /** Fits what all of this is so of, which goes into a `queue`, or on to a `list`. */
  export interface Rule {
    /** What senders call messages of this sort. */
    type?: string;
    /** Of calls; "+": any. */
    function?: string;
    /** The id of a program. */
    sender?: string;
    /** A filter, with + and # as in MQTT, for the address or topic that it came to. */
    address?: string;
    /** JSON that has these values at these places, such as { "/table": 4 } (JSON pointers, RFC 6901). */
    fields?: Record<string, unknown>;
    queue?: string;
    list?: string;
  }

  /**
   * Rules that sort what comes into queues: of a list the first rule that fits decides. What no rule takes, or a queue has no room for,
   * is undelivered: a call fails as "refused", and a line on standard error says so.
   */
  export class Mailbox {
    /** Lists by their names; all begin with `main`. They may be changed at any time. */
    rules: Record<string, Rule[]>;
    /** What fits no rule goes into this queue. */
    otherwise?: string;
    /** How much a queue has room for: 256 messages, 1 MiB. */
    messagesMax: number;
    bytesMax: number;
    /** For `serve`, `listen` and `subscribe`. What comes is read only while somebody waits in `receive`. */
    readonly handler: (message: any) => any;
    /** The oldest message of these queues. Rejected with kind "timeout" after so many milliseconds. */
    receive(queues: string | string[], options?: { timeout?: number }): Promise<{ queue: string; message: any }>;
    take(queues: string | string[]): { queue: string; message: any } | undefined;
    waiting(queue: string): number;
    takeUndelivered(): { why: string; message: Message | MailboxCall } | undefined;
    /** Sorts what waits by the rules of now. */
    sortAgain(): void;
  }

  export interface CallOptions {
    /** In milliseconds: 30000. */
    timeout?: number;
    onProgress?: (payload: Buffer) => void;
    /** It may be done twice: it is sent again where its provider was set back to before it had the call. */
    idempotent?: boolean;
    /** While a call of the same address, function and key is open, it is not made, and gets the end of that. */
    coalesce?: string;
    /** Calls of the same address, function and key that are open are cancelled. */
    supersede?: string;
    /** Which of several providers is called, such as "least-cpu" or "label=zone=attic,round-robin": the book's page "Calls" lists them. */
    choose?: string;
    /** Cancels it. */
    signal?: AbortSignal;
  }

  export interface SendOptions {
    /** How long somebody is waited for at the address, in milliseconds: 30000. */
    timeout?: number;
    type?: string;
    /** Messages of one key are handled one at a time, by receivers that say when they have. */
    order?: string;
    /** It is not handed to a receiver that it reaches later than so many milliseconds. */
    expires?: number;
    /** Settled when all receivers have taken it: rejected with kind "ended", "expired" or "unavailable" where one never will. */
    receipt?: boolean;
  }

  /** Messages in the order in which they came. */
  export interface Subscription extends AsyncIterableIterator<Message> {
    readonly filter: string;
    /** Settled when the broker has granted it, or not. */
    readonly ready: Promise<Subscription>;
    unsubscribe(): Promise<void>;
  }

  export interface Value {
    readonly value: Buffer;
    readonly version: number;
  }

  export interface Device {
    readonly alias: string;
    read(): number;
    write(value: boolean | string): void;
    on(): void;
    off(): void;
  }

  export interface Me {
    readonly program: string;
    readonly name: string;
    readonly engine: string;
    readonly generation: number;
    readonly moves: number;
    readonly grants: object;
  }

  export interface PublishOptions {
    qos?: 0 | 1;
    retain?: boolean;
    /** For receivers that know nothing of Wayfare. */
    plain?: boolean;
  }

  export function publish(topic: string, payload: Bytes, options?: PublishOptions): Promise<void>;
  export function subscribe(filter: string, callback: (message: Message) => void): Subscription;
  export function subscribe(
    filter: string,
    options?: { qos?: 0 | 1 },
    callback?: (message: Message) => void,
  ): Subscription;
  /** Gives the reply's bytes. `timeout` is in milliseconds: 30000. */
  export function request(topic: string, payload: Bytes, options?: { timeout?: number }): Promise<Buffer>;
  /** Provides a service. What the handler returns, or its promise gives, answers the call; what it throws fails it, with `kind` if that is a kind of failure. */
  export function serve(
    name: string,
    handler: (call: Call) => Bytes | undefined | Promise<Bytes | undefined>,
    options?: { schema?: Schema },
  ): Promise<void>;
  /** Calls a function at an address, such as service/calc, and gives the bytes of its result. `timeout` is in milliseconds: 30000. */
  export function call(address: string, name: string, payload?: Bytes, options?: CallOptions): Promise<Buffer>;
  /** Sends a message to one program, or to each of a set such as app/shop. */
  export function send(address: string, payload: Bytes, options?: SendOptions): Promise<void>;
  /** Takes messages to the program's own addresses. `order`: one message of a key at a time, until it is `handled`. */
  export function listen(callback: (message: Message) => void, options?: { order?: boolean }): Promise<void>;
  /** A value of the program's own, or with a / in front one that all programs know. */
  export function get(key: string): Promise<Value | undefined>;
  export function set(key: string, value: Bytes): Promise<number>;
  /** Refused with kind "conflict" if the value has another version. 0: there is none. */
  export function compareAndSet(key: string, value: Bytes, version: number): Promise<number>;
  export function remove(key: string): Promise<void>;
  export function device(alias: string): Device;
  export function me(): Me;
  export function onMoved(callback: (engine: string) => void): void;

  /** Says that the program is ready for work: a roll-out waits for it where the manifest has `health`. */
  export function ready(): Promise<void>;
  /** Says that it is ready, and well for so many milliseconds. If it does not say so again in that time, it is unhealthy, and an application's instance is started anew. */
  export function healthy(time: number): Promise<void>;
  /** Asks not to be moved or replaced, for so many milliseconds at most, five minutes in any case, or until `release`. */
  export function hold(reason: string, time: number): Promise<void>;
  export function release(): Promise<void>;

  const wayfare: {
    ready: typeof ready;
    healthy: typeof healthy;
    hold: typeof hold;
    release: typeof release;
    WayfareError: typeof WayfareError;
    publish: typeof publish;
    subscribe: typeof subscribe;
    request: typeof request;
    serve: typeof serve;
    call: typeof call;
    send: typeof send;
    listen: typeof listen;
    get: typeof get;
    set: typeof set;
    compareAndSet: typeof compareAndSet;
    remove: typeof remove;
    device: typeof device;
    me: typeof me;
    onMoved: typeof onMoved;
  };
  export default wayfare;
}
