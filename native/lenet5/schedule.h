// The course of the learning rate over a run.
#pragma once

#include <cstdint>

namespace lenet5 {

enum class Schedule { constant, one_cycle };

// The learning rate of a step (from 0) of a run of `total` steps. one_cycle: Smith and Topin 2018 with the defaults of
// torch.optim.lr_scheduler.OneCycleLR (pct_start 0.3, cosine, div_factor 25, final_div_factor 1e4).
double learning_rate(Schedule schedule, double peak, int64_t step, int64_t total);

}  // namespace lenet5
