// Places in a text: the server counts characters of Unicode, a text field counts UTF-16. Pure.

const lengthOf = (text, characters) => [...text].slice(0, characters).join("").length;

/** Where an error with line, column (both from 1) and length begins and ends in the text. */
export function rangeOf(text, { line, column, length }) {
  const lines = text.split("\n");
  const before = lines.slice(0, line - 1).reduce((sum, each) => sum + each.length + 1, 0);
  const start = before + lengthOf(lines[line - 1] ?? "", column - 1);
  return { start, end: start + lengthOf(text.slice(start), length) };
}
