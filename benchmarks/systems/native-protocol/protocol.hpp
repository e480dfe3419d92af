// The C++ half of the line protocol: one JSON request a line on stdin, one JSON reply a line on stdout.
// The requests are the runner's own, flat but for one nested object, so a key is looked up by its name.
#pragma once

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <fstream>
#include <functional>
#include <iostream>
#include <string>
#include <vector>

namespace protocol {

using Clock = std::chrono::steady_clock;

inline double seconds_since(Clock::time_point begin) {
  return std::chrono::duration<double>(Clock::now() - begin).count();
}

class Request {
 public:
  explicit Request(std::string line) : line_(std::move(line)) {}

  std::string text(const std::string& key) const {
    size_t at = value_of(key) + 1;
    return line_.substr(at, line_.find('"', at) - at);
  }
  bool has(const std::string& key) const { return line_.find("\"" + key + "\":") != std::string::npos; }
  double number(const std::string& key) const { return std::stod(line_.substr(value_of(key))); }

  std::vector<float> numbers(const std::string& key) const {
    std::vector<float> values;
    for (const char* at = line_.c_str() + value_of(key); *at != ']' && *at != '\0';) {
      char* end = nullptr;
      values.push_back(std::strtof(at + 1, &end));
      at = end;
    }
    return values;
  }

 private:
  size_t value_of(const std::string& key) const {
    const std::string quoted = "\"" + key + "\":";
    const size_t at = line_.find(quoted);
    if (at == std::string::npos) throw std::runtime_error("the request has no " + key);
    return at + quoted.size();
  }
  std::string line_;
};

inline void say(const std::string& json) { std::cout << json << std::endl; }

// Raw floats, little endian: the answers that the runner compares.
inline void write_floats(const std::string& path, const std::vector<float>& values) {
  std::ofstream file(path, std::ios::binary);
  file.write(reinterpret_cast<const char*>(values.data()), static_cast<std::streamsize>(values.size() * sizeof(float)));
  if (!file) throw std::runtime_error("cannot write " + path);
}

struct Measured {
  size_t calls;
  double seconds, p50_ms, p99_ms;
};

// Calls `call(0..calls-1)` round and round for the given time and takes each call's latency.
inline Measured measure(const std::function<void(size_t)>& call, size_t calls, double seconds) {
  std::vector<double> durations;
  const auto begin = Clock::now();
  double now = 0;
  for (size_t index = 0; now < seconds; index = (index + 1) % calls) {
    const double before = now;
    call(index);
    now = seconds_since(begin);
    durations.push_back(now - before);
  }
  std::sort(durations.begin(), durations.end());
  const size_t last = durations.size() - 1;
  return {durations.size(), now, durations[durations.size() / 2] * 1e3,
          durations[std::min(last, static_cast<size_t>(durations.size() * 0.99))] * 1e3};
}

// Answers requests until stdin ends. `handle` returns the members of the reply after "ok".
inline void serve(const std::function<std::string(const std::string& command, const Request&)>& handle) {
  std::string line;
  while (std::getline(std::cin, line)) {
    try {
      const Request request(line);
      const std::string members = handle(request.text("cmd"), request);
      say("{\"ok\":true" + (members.empty() ? "" : "," + members) + "}");
    } catch (const std::exception& error) {
      std::string message = error.what();
      message = message.substr(0, message.find('\n'));
      for (char& c : message) {
        if (c == '"' || c == '\\') c = '\'';
      }
      say("{\"ok\":false,\"error\":\"" + message + "\"}");
    }
  }
}

}  // namespace protocol
