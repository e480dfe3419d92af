// How a server takes leave of the connections that clients keep.
//
// Problem: a server that closes a connection between two requests may do so while the next one is on its way. That one is lost, and
// its client cannot know whether it was begun. Resolution: before anything is closed, every answer says that it is its connection's
// last one (`Connection: close`), those under way among them; for what comes next the client opens another connection, to a
// server that stays. What is left when the server closes are connections that nobody has used meanwhile.
import type { Server, ServerResponse } from "node:http";
import type { Socket } from "node:net";

/**
 * Watches a server's connections.
 * @returns what makes every answer from then on the last one of its connection
 */
export function lastAnswers(server: Server): () => void {
  const sockets = new Set<Socket>();
  server.on("connection", (socket: Socket) => {
    sockets.add(socket);
    socket.once("close", () => sockets.delete(socket));
  });
  return () => {
    server.prependListener("request", (_request, answer) => makeLast(answer));
    for (const socket of sockets) {
      const { _httpMessage: answer } = socket as Socket & { _httpMessage?: ServerResponse | null };
      if (answer) makeLast(answer);
    }
  };
}

function makeLast(answer: ServerResponse): void {
  answer.shouldKeepAlive = false;
}
