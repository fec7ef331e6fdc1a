/** The library's entry: a call of the gateway for any page. Knows nothing of React. */
export type * from "./call/model";
