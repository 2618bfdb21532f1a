// Elements by name and text: nothing here reads markup, so that a file's name stays a name.

export const find = (selector, within = document) => within.querySelector(selector);
export const findAll = (selector, within = document) => [...within.querySelectorAll(selector)];

/** An element with properties and attributes (of names with a dash), and what stands in it. */
export function make(tag, properties = {}, ...children) {
  const made = document.createElement(tag);
  for (const [name, value] of Object.entries(properties)) {
    if (name in made && !name.includes("-")) made[name] = value;
    else if (value !== undefined) made.setAttribute(name, value);
  }
  made.append(...children.filter((child) => child !== "" && child != null));
  return made;
}

export const counted = (count, noun) => `${count} ${noun}${count === 1 ? "" : "s"}`;
