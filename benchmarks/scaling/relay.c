// A switch whose ports have a rate, and which holds every frame back for some time: what netem is, for a kernel without it.
//
//   relay MICROSECONDS BYTES_PER_SECOND INTERFACE…
//
// A frame that comes in at one interface has left its sender when that one's earlier frames have and its own bytes' time is
// over; it goes out a delay later at the interface behind which its receiver was last heard, or at all others. (The kernel's
// tbf would let a burst pass at once, which is as much as a whole message here.) It prints "ready" once it listens.
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <linux/if_packet.h>
#include <net/ethernet.h>
#include <net/if.h>
#include <poll.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <time.h>

enum { MOST_PORTS = 16, SLOTS = 1 << 12, LARGEST = 9216 };

struct frame {
  uint64_t due;  // nanoseconds
  int length;
  unsigned char bytes[LARGEST];
};

struct port {
  int socket;
  uint64_t free;  // when all that its sender has sent is out
  unsigned char address[6];
  int known;            // whether `address` is
  struct frame *ring;   // what came in here, in order
  uint64_t head, tail;  // next to send, next to fill
};

static struct port all[MOST_PORTS];
static int ports;

static uint64_t now(void) {
  struct timespec time;
  clock_gettime(CLOCK_MONOTONIC, &time);
  return (uint64_t)time.tv_sec * 1000000000 + (uint64_t)time.tv_nsec;
}

static int opened(const char *name) {
  const int opened_ = socket(AF_PACKET, SOCK_RAW, htons(ETH_P_ALL));
  struct sockaddr_ll to = {
      .sll_family = AF_PACKET, .sll_protocol = htons(ETH_P_ALL), .sll_ifindex = (int)if_nametoindex(name)};
  const int size = 32 << 20, yes = 1;
  // What this program sends itself does not come by.
  if (opened_ < 0 || to.sll_ifindex == 0 ||
      setsockopt(opened_, SOL_PACKET, PACKET_IGNORE_OUTGOING, &yes, sizeof yes) != 0 ||
      bind(opened_, (struct sockaddr *)&to, sizeof to) != 0) {
    perror(name);
    exit(1);
  }
  setsockopt(opened_, SOL_SOCKET, SO_RCVBUFFORCE, &size, sizeof size);
  setsockopt(opened_, SOL_SOCKET, SO_SNDBUFFORCE, &size, sizeof size);
  return opened_;
}

static void take(struct port *from, uint64_t delay, double nanoseconds_a_byte) {
  while (from->tail - from->head < SLOTS) {
    struct frame *frame = &from->ring[from->tail % SLOTS];
    const ssize_t got = recv(from->socket, frame->bytes, LARGEST, MSG_DONTWAIT);
    if (got < 14) return;
    memcpy(from->address, frame->bytes + 6, 6);
    from->known = 1;
    const uint64_t time = now();
    from->free = (from->free > time ? from->free : time) + (uint64_t)((double)got * nanoseconds_a_byte);
    frame->length = (int)got;
    frame->due = from->free + delay;
    ++from->tail;
  }
}

static void pass_on(const struct port *from, const struct frame *frame) {
  const struct port *to = NULL;
  for (int i = 0; i < ports; ++i) {
    if (all[i].known && memcmp(all[i].address, frame->bytes, 6) == 0) to = &all[i];
  }
  for (int i = 0; i < ports; ++i) {
    if (&all[i] == from || (to != NULL && &all[i] != to)) continue;
    while (send(all[i].socket, frame->bytes, (size_t)frame->length, 0) < 0 && (errno == ENOBUFS || errno == EAGAIN)) {
    }
  }
}

int main(int count, char **words) {
  if (count < 4 || count - 3 > MOST_PORTS) return 2;
  const uint64_t delay = strtoull(words[1], NULL, 10) * 1000;
  const double nanoseconds_a_byte = 1e9 / strtod(words[2], NULL);
  // A timer may be late by 50 us otherwise.
  prctl(PR_SET_TIMERSLACK, 1UL);
  struct pollfd waiting[MOST_PORTS];
  for (ports = 0; ports < count - 3; ++ports) {
    struct port *port = &all[ports];
    port->socket = opened(words[ports + 3]);
    port->ring = calloc(SLOTS, sizeof *port->ring);
    if (port->ring == NULL) return 1;
    waiting[ports] = (struct pollfd){.fd = port->socket, .events = POLLIN};
  }
  puts("ready");
  fflush(stdout);
  for (;;) {
    uint64_t due = UINT64_MAX;
    for (int i = 0; i < ports; ++i) {
      const struct port *port = &all[i];
      if (port->head != port->tail && port->ring[port->head % SLOTS].due < due) due = port->ring[port->head % SLOTS].due;
    }
    const uint64_t time = now();
    const uint64_t rest = due == UINT64_MAX ? 1000000000 : due > time ? due - time : 0;
    const struct timespec wait = {(time_t)(rest / 1000000000), (long)(rest % 1000000000)};
    ppoll(waiting, (nfds_t)ports, &wait, NULL);
    for (int i = 0; i < ports; ++i) {
      if (waiting[i].revents & POLLIN) take(&all[i], delay, nanoseconds_a_byte);
    }
    for (int i = 0; i < ports; ++i) {
      struct port *port = &all[i];
      for (; port->head != port->tail && port->ring[port->head % SLOTS].due <= now(); ++port->head) {
        pass_on(port, &port->ring[port->head % SLOTS]);
      }
    }
  }
}
