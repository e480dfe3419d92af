// Counts and prints the checks of the kernels' tests.
#pragma once

#include <cstdint>
#include <cstdio>

inline int failures = 0;

inline void check(bool ok, const char* what, const char* set, double value, double limit) {
  if (!ok) ++failures;
  std::printf("%s %-9s %-52s %.3g (limit %.3g)\n", ok ? "ok  " : "FAIL", set, what, value, limit);
}

inline void check_below(double value, double limit, const char* set, const char* format, int64_t a = 0, int64_t b = 0) {
  char what[128];
  std::snprintf(what, sizeof what, format, static_cast<long long>(a), static_cast<long long>(b));
  check(value <= limit, what, set, value, limit);
}

inline int finish() {
  std::printf(failures ? "%d checks failed\n" : "all checks passed\n", failures);
  return failures ? 1 : 0;
}
