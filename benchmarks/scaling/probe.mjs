// What a network is really like: half the median round trip of a byte, and the bytes a second of one stream.
//
//   node probe.mjs serve PORT          prints "ready", answers one asker, ends
//   node probe.mjs ask HOST PORT       prints {"latency": seconds, "bandwidth": bytes a second}
import { once } from "node:events";
import { connect, createServer } from "node:net";

const ROUND_TRIPS = 300;
const STREAM = Buffer.alloc(32 << 20);
const [role, ...words] = process.argv.slice(2);

const median = (values) => values.sort((a, b) => a - b)[Math.floor(values.length / 2)];

if (role === "serve") {
  const server = createServer({ noDelay: true }, (socket) => {
    let bytes = 0;
    socket.on("data", (data) => {
      bytes += data.length;
      if (bytes <= ROUND_TRIPS || bytes === ROUND_TRIPS + STREAM.length) socket.write("!");
    });
    socket.on("close", () => server.close());
  });
  server.listen(Number(words[0]), () => console.log("ready"));
} else {
  const socket = connect({ host: words[0], port: Number(words[1]), noDelay: true });
  await once(socket, "connect");
  const answered = async (message) => {
    const begin = performance.now();
    socket.write(message);
    await once(socket, "data");
    return (performance.now() - begin) / 1000;
  };
  const trips = [];
  for (let i = 0; i < ROUND_TRIPS; i += 1) trips.push(await answered("?"));
  const latency = median(trips) / 2;
  const bandwidth = STREAM.length / ((await answered(STREAM)) - 2 * latency);
  console.log(JSON.stringify({ latency, bandwidth }));
  socket.destroy();
}
