/** What is missing, told in its place. */
export interface Gap {
  reason: "corrupt" | "diverged" | "ahead" | "epoch" | "evicted" | "malformed" | "slow";
  /** How many, in decimal digits because it may exceed 2^53; absent if that cannot be known. */
  missed?: string;
  /** The last id before the gap, if there was one. */
  from?: string;
  /** The id from which the stream goes on. */
  resume: string;
}

export interface Options {
  /** Sends cookies to other origins. Default: false. */
  withCredentials?: boolean;
  /** Parses the data of all events as JSON; what is no JSON stays text. Default: false. */
  json?: boolean;
}

/** The events that have a type of their own; `data` of all others is `Data`. */
export interface SharedEventSourceEventMap {
  /** The stream has begun, or goes on. */
  open: MessageEvent<undefined>;
  /** The stream was lost or not given: the status of the answer, 0 if there was none. */
  error: MessageEvent<number>;
  gap: MessageEvent<Gap>;
}

/**
 * An event stream that all tabs of an origin share: docs/browser.md of the crate tornadose.
 * MIT.
 */
export declare class SharedEventSource<Data = any> extends EventTarget {
  constructor(url: string | URL, options?: Options);
  /** 0: connecting, 1: open, 2: closed for good. */
  readonly readyState: 0 | 1 | 2;
  /** Ends it in this tab. Other tabs go on. */
  close(): void;
  addEventListener<Type extends keyof SharedEventSourceEventMap>(
    type: Type,
    listener: (event: SharedEventSourceEventMap[Type]) => void,
    options?: boolean | AddEventListenerOptions,
  ): void;
  addEventListener(
    type: string,
    listener: ((event: MessageEvent<Data>) => void) | EventListenerObject | null,
    options?: boolean | AddEventListenerOptions,
  ): void;
}
