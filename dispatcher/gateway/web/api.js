// The gateway's operations. Whatever is refused is thrown as a Problem, with the command's code word.

export class Problem extends Error {
  constructor(document, status) {
    super(document.message ?? `the gateway answered ${status}`);
    this.kind = document.error ?? "unknown";
    this.hint = document.hint;
    this.status = status;
  }

  get text() {
    return this.hint ? `${this.message}: ${this.hint}` : this.message;
  }
}

async function call(method, path, params = {}, body = undefined) {
  const url = new URL(`/api/v1/${path}`, location.origin);
  const options = { method, headers: {} };
  const given = Object.entries(params).filter(([, value]) => value !== undefined && value !== null && value !== "");
  if (body !== undefined || method === "GET") {
    for (const [name, value] of given) {
      for (const one of Array.isArray(value) ? value : [value]) url.searchParams.append(name, one);
    }
    options.body = body;
  } else {
    options.headers["content-type"] = "application/json";
    options.body = JSON.stringify(Object.fromEntries(given));
  }
  let response;
  try {
    response = await fetch(url, options);
  } catch {
    throw new Problem({ error: "unreachable", message: "the gateway cannot be reached" }, 0);
  }
  if (response.ok) return response;
  const document = await response.json().catch(() => ({}));
  throw new Problem(document, response.status);
}

export async function get(path, params, signal) {
  return (await call("GET", path, params, undefined, signal)).json();
}

export async function post(path, params = {}) {
  return (await call("POST", path, params)).json();
}

// Bytes go up, parameters in the address.
export async function send(path, params, body) {
  return (await call("POST", path, params, body)).json();
}

export async function remove(path, params = {}) {
  return (await call("DELETE", path, params)).json();
}

export async function bytes(path, params = {}) {
  return (await call("POST", path, params)).blob();
}

export const part = encodeURIComponent;
