// Problem: two threads on one core's two halves are slower than one for kernels that fill its vector units, so it is
// physical cores that count, and each system tells of them in its own way. Resolution: the logical processors are
// counted where that is all that can be had.
#include "default_threads.h"

#include <algorithm>
#include <cstdlib>
#include <string>
#include <thread>

#ifdef __linux__
#include <sched.h>

#include <cstdio>
#include <memory>
#include <set>
#elif defined(__APPLE__)
#include <sys/sysctl.h>
#elif defined(_WIN32)
#include <windows.h>

#include <vector>
#endif

namespace lenet5 {

namespace {

#ifdef __linux__
// The first line of one of the system's own files, "" where there is none; C's way, as number_text.cpp says.
std::string first_line(const std::string& path) {
  const std::unique_ptr<std::FILE, int (*)(std::FILE*)> file(std::fopen(path.c_str(), "re"), std::fclose);
  char line[256] = "";
  if (!file || !std::fgets(line, sizeof line, file.get())) return "";
  return line;
}
#endif

// 0 where it is not known.
#ifdef __linux__
int physical_cores() {
  cpu_set_t allowed;
  CPU_ZERO(&allowed);
  if (sched_getaffinity(0, sizeof allowed, &allowed) != 0) return 0;
  std::set<std::string> cores;
  for (int cpu = 0; cpu < CPU_SETSIZE; ++cpu) {
    if (!CPU_ISSET(cpu, &allowed)) continue;
    const std::string siblings =
        first_line("/sys/devices/system/cpu/cpu" + std::to_string(cpu) + "/topology/thread_siblings_list");
    // Without the file, a processor is a core.
    cores.insert(siblings.empty() ? std::to_string(cpu) : siblings);
  }
  return static_cast<int>(cores.size());
}
#elif defined(__APPLE__)
int physical_cores() {
  int cores = 0;
  size_t size = sizeof cores;
  return sysctlbyname("hw.physicalcpu", &cores, &size, nullptr, 0) == 0 ? cores : 0;
}
#elif defined(_WIN32)
int physical_cores() {
  DWORD bytes = 0;
  GetLogicalProcessorInformation(nullptr, &bytes);
  std::vector<SYSTEM_LOGICAL_PROCESSOR_INFORMATION> entries(bytes / sizeof(SYSTEM_LOGICAL_PROCESSOR_INFORMATION));
  if (entries.empty() || !GetLogicalProcessorInformation(entries.data(), &bytes)) return 0;
  return static_cast<int>(std::count_if(entries.begin(), entries.end(),
                                        [](const auto& entry) { return entry.Relationship == RelationProcessorCore; }));
}
#else
int physical_cores() { return 0; }
#endif

// A container's share, as "200000 100000" (microseconds in each period) or "max 100000"; 0 where there is none.
int container_processors() {
#ifdef __linux__
  const std::string share = first_line("/sys/fs/cgroup/cpu.max");
  char* rest = nullptr;
  const long quota = std::strtol(share.c_str(), &rest, 10);
  const long period = std::strtol(rest, nullptr, 10);
  if (quota > 0 && period > 0) return static_cast<int>((quota + period - 1) / period);
#endif
  return 0;
}

}  // namespace

int default_threads() {
  constexpr long kMost = 1024;
  if (const char* given = std::getenv("OMP_NUM_THREADS")) {
    const long threads = std::strtol(given, nullptr, 10);
    if (threads > 0) return static_cast<int>(std::min(threads, kMost));
  }
  int threads = physical_cores();
  if (threads <= 0) threads = static_cast<int>(std::thread::hardware_concurrency());
  if (const int share = container_processors(); share > 0) threads = std::min(threads, share);
  return std::clamp(threads, 1, static_cast<int>(kMost));
}

}  // namespace lenet5
