// Numbers as text, whatever the process's locale: snprintf writes, and strtod reads, a decimal comma under many of
// them.
#pragma once

#include <string>

namespace lenet5 {

// The shortest text that reads back as the same number, as printf's %g writes it: 0.1307, 1e-05, 100, nan.
std::string number_text(double number);

// The same with a point or an exponent, so that Python takes it for a float: 100.0.
std::string float_literal(double number);

}  // namespace lenet5
