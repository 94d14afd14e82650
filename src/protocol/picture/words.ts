/** Message lists as lines of a picture. */

/** `a | b |` and `c`: broken before a message that would pass the width, where it is not the first of its line. */
export function wrap(messages: readonly string[], width: number): readonly string[] {
  const lines: string[] = [];
  let line = "";
  for (const message of messages) {
    if (line !== "" && line.length + message.length + 3 > width) {
      lines.push(`${line} |`);
      line = message;
    } else line = line === "" ? message : `${line} | ${message}`;
  }
  return line === "" ? lines : [...lines, line];
}
