// The few pages of the provider. Plain HTML, no script.

const STYLE = `
:root { color-scheme: light dark; font: 1.05rem/1.5 system-ui, sans-serif; }
body { max-width: 30rem; margin: 3rem auto; padding: 0 1rem; }
button { display: block; width: 100%; margin: .6rem 0; padding: .8rem 1rem; font: inherit; text-align: left;
  border: 1px solid; border-radius: .5rem; background: transparent; cursor: pointer; color: inherit; }
button:hover, button:focus-visible { background: color-mix(in srgb, currentColor 10%, transparent); }
small { opacity: .75; display: block; }`;

export function escape(text) {
  return String(text).replace(/[&<>"']/g, (character) => `&#${character.charCodeAt(0)};`);
}

export function messagePage(message, form = '') {
  return `<!doctype html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">
<title>Demonstration provider</title><link rel="icon" href="data:,"><style>${STYLE}</style></head>
<body><main><h1>Demonstration provider</h1><p>${escape(message)}</p>${form}</main></body></html>`;
}

function personButton({ account, claims = {} }) {
  const note = claims.note ? `<small>${escape(claims.note)}</small>` : '';
  return `<button name="account" value="${escape(account)}">${escape(claims.name ?? account)}
<small>${escape(claims.email ?? 'no address')}</small>${note}</button>`;
}

export function chooserPage(people, clientId) {
  return messagePage(
    `${clientId} asks who you are. There are no passwords here: choose a person.`,
    `<form method="post">${people.map(personButton).join('')}<button name="cancel" value="yes">Cancel</button></form>`,
  );
}
