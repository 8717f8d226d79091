// What the page tells the visitor: the file, what is wrong with it, and what mends it.

export class PageError extends Error {}

export function inWords(error) {
  return error instanceof PageError ? error.message : `Something failed that this page does not know: ${error}`;
}
