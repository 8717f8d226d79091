// Serves dist/ on this machine alone: node serve.mjs [PORT]
//
// Any server of files does. This one adds the two headers without which a browser gives a page no threads.

import { createReadStream } from 'node:fs';
import { stat } from 'node:fs/promises';
import { createServer } from 'node:http';
import { dirname, extname, join, normalize } from 'node:path';
import { fileURLToPath } from 'node:url';

const root = join(dirname(fileURLToPath(import.meta.url)), 'dist');
const TYPES = { '.html': 'text/html', '.css': 'text/css', '.js': 'text/javascript', '.wasm': 'application/wasm' };
const HEADERS = {
  'Cross-Origin-Opener-Policy': 'same-origin',
  'Cross-Origin-Embedder-Policy': 'require-corp',
  'Cache-Control': 'no-cache',
};

const server = createServer(async (request, response) => {
  let file;
  let size;
  try {
    const path = decodeURIComponent(new URL(request.url, 'http://localhost').pathname);
    // normalize() of an absolute path cannot climb above its root.
    file = join(root, normalize(path.endsWith('/') ? `${path}index.html` : path));
    const found = await stat(file);
    if (!found.isFile()) {
      throw new Error('not a file');
    }
    size = found.size;
  } catch {
    response.writeHead(404, HEADERS).end('Not found\n');
    return;
  }
  const type = TYPES[extname(file)] ?? 'application/octet-stream';
  response.writeHead(200, { ...HEADERS, 'Content-Type': type, 'Content-Length': size });
  createReadStream(file).pipe(response);
});
server.listen(Number(process.argv[2] ?? 8000), '127.0.0.1', () => {
  console.log(`http://127.0.0.1:${server.address().port}/`);
});
