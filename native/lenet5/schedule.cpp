#include "schedule.h"

#include <cmath>

namespace lenet5 {

namespace {

constexpr double kPi = 3.14159265358979323846;

double cosine(double start, double end, double share) { return end + (start - end) / 2 * (std::cos(kPi * share) + 1); }

}  // namespace

double learning_rate(Schedule schedule, double peak, int64_t step, int64_t total) {
  if (schedule == Schedule::constant) return peak;
  const double initial = peak / 25;
  const double final = initial / 1e4;
  const double turn = 0.3 * static_cast<double>(total) - 1;
  const double end = static_cast<double>(total) - 1;
  const auto at = static_cast<double>(step);
  if (at <= turn) return turn <= 0 ? peak : cosine(initial, peak, at / turn);
  return end <= turn ? peak : cosine(peak, final, (at - turn) / (end - turn));
}

}  // namespace lenet5
