// See ../README.md. CUDA's own file refuses host compilers that its device compiler cannot work with; none is used
// here.
#pragma once

#include "host_defines.h"
