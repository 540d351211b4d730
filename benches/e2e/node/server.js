// Express with opossum, lru-cache and ioredis, each as its documentation shows. Arguments: port, port of the origin, port of Redis or nothing.
const http = require('node:http');
const express = require('express');
const CircuitBreaker = require('opossum');
const { LRUCache } = require('lru-cache');

const [port, originPort, redisPort] = process.argv.slice(2).map(Number);
const agent = new http.Agent({ keepAlive: true, maxSockets: 64 });
const app = express();
app.disable('x-powered-by');

const fetchFrom = (port, path) =>
  new Promise((resolve, reject) => {
    const request = http.get({ host: '127.0.0.1', port, path, agent, headers: { host: 'shop.example' } }, (response) => {
      const chunks = [];
      response.on('data', (chunk) => chunks.push(chunk));
      response.on('end', () => resolve({ headers: response.headers, body: Buffer.concat(chunks) }));
      response.on('error', reject);
    });
    request.on('error', reject);
  });

const answer = (response, { headers, body }) => {
  for (const name of ['content-type', 'cache-control', 'etag', 'last-modified', 'vary', 'content-language']) {
    if (headers[name]) response.set(name, headers[name]);
  }
  response.send(body);
};

app.get('/hello', (_, response) => response.type('text').send('hello, world'));

const cache = new LRUCache({ maxSize: 256 << 20, sizeCalculation: ({ body }) => body.length + 512, ttl: 86400_000 });
app.get(['/cached', '/miss/:n'], async (request, response) => {
  let page = cache.get(request.url);
  if (!page) {
    page = await fetchFrom(originPort, request.url);
    cache.set(request.url, page);
  }
  answer(response, page);
});

const options = { timeout: 3000, errorThresholdPercentage: 50, resetTimeout: 30000, volumeThreshold: 5 };
const closed = new CircuitBreaker(fetchFrom, options);
const open = new CircuitBreaker(fetchFrom, options);
app.get('/plain', async (request, response) => {
  try {
    answer(response, await closed.fire(originPort, request.url));
  } catch {
    response.status(503).set('retry-after', '30').json({ title: 'unavailable' });
  }
});
app.get('/open', async (_, response) => {
  try {
    // The discard port: nobody listens.
    answer(response, await open.fire(9, '/plain'));
  } catch {
    response.status(503).set('retry-after', '30').json({ title: 'unavailable' });
  }
});

// The storefront's own, before anything is sold; it keeps each form for a minute, and so does this.
const names = { lamp: 'Desk lamp', bulb: 'Light bulb', chair: 'Oak chair', stool: 'Bar stool', shelf: 'Wall shelf', box: 'Storage box' };
const sales = Object.entries(names).map(([product, name]) => ({ product, name, units: 0, revenue_cents: 0 }));
const columns = Object.keys(sales[0]);
const forms = {
  json: () => JSON.stringify(sales),
  csv: () => [columns, ...sales.map(Object.values)].map((row) => `${row.join(',')}\r\n`).join(''),
};
const reports = new LRUCache({ max: 100, ttl: 60_000 });
app.get('/reports/sales', (request, response) => {
  const form = request.accepts(Object.keys(forms));
  if (!form) return response.sendStatus(406);
  let report = reports.get(form);
  if (!report) {
    report = forms[form]();
    reports.set(form, report);
  }
  return response.vary('Accept').type(form).send(report);
});

if (redisPort) {
  const redis = new (require('ioredis').Redis)(redisPort, '127.0.0.1');
  app.post('/orders', express.json(), async (request, response) => {
    const key = `idempotency:${request.get('idempotency-key')}`;
    const filed = await redis.get(key);
    if (filed) return response.status(201).set('idempotency-replayed', 'true').type('json').send(filed);
    const order = JSON.stringify({ id: 1, ...request.body, total_cents: 4900, payment: 'pay-1' });
    await redis.set(key, order, 'EX', 86400);
    return response.status(201).type('json').send(order);
  });
}

app.listen(port, '127.0.0.1');
