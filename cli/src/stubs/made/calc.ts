// Client of service/calc, made by `wayfare service stub calc --lang ts`: make it anew when the schema has changed.
import { call, type CallOptions } from "wayfare";

export interface AddArguments {
  a: number;
  b: number;
}

/**
 * What somebody wants.
 */
export interface Order {
  colour: OrderColour;
  lines: Array<OrderLinesItem>;
  note?: string | null;
  "price per piece"?: number;
  tags?: Record<string, string>;
  /**
   * Of which sort.
   */
  type: string;
}

export type OrderColour = "red" | "dark blue";

export interface OrderLinesItem {
  count: number;
}

export interface Accepted {
  number: number;
}

export type PlaceOrderResult = Accepted | string;

export interface Tree {
  children: Array<Tree>;
  left?: Tree;
}

/**
 * Counts, and keeps orders.
 */
export class Calc {
  #address: string;
  #options: Options<any>;

  constructor(address: string = "service/calc", options: Omit<CallOptions, "onProgress"> = {}) {
    this.#address = address;
    this.#options = options;
  }

  /**
   * Adds two numbers.
   */
  add(payload: AddArguments, options: Options = {}): Promise<number> {
    return called(this.#address, "add", payload, { ...this.#options, ...options });
  }

  placeOrder(payload: Order, options: Options = {}): Promise<PlaceOrderResult | null> {
    return called(this.#address, "place-order", payload, { ...this.#options, ...options });
  }

  /**
   * Takes its time.
   * As long as it is told.
   */
  slow(payload: number, options: Options<[number, number]> = {}): Promise<null> {
    return called(this.#address, "slow", payload, { ...this.#options, ...options });
  }

  tree(options: Options = {}): Promise<Tree> {
    return called(this.#address, "tree", null, { ...this.#options, ...options });
  }

  true(options: Options = {}): Promise<unknown> {
    return called(this.#address, "true", null, { ...this.#options, ...options });
  }
}

type Options<Progress = unknown> = Omit<CallOptions, "onProgress"> & { onProgress?: (progress: Progress) => void };

async function called(address: string, name: string, payload: unknown, { onProgress, ...options }: Options<any>): Promise<any> {
  const progressed = onProgress && ((progress: Buffer) => onProgress(JSON.parse(progress.toString())));
  const result = await call(address, name, JSON.stringify(payload), { ...options, onProgress: progressed });
  return result.length === 0 ? null : JSON.parse(result.toString());
}
