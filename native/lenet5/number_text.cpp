#include "number_text.h"

#include <locale>
#include <sstream>

namespace lenet5 {

std::string number_text(double number) {
  std::string text;
  for (int digits = 1; digits <= 17; ++digits) {
    std::ostringstream out;
    out.imbue(std::locale::classic());
    out.precision(digits);
    out << number;
    text = out.str();
    std::istringstream in(text);
    in.imbue(std::locale::classic());
    double again = 0;
    if (in >> again && again == number) break;
  }
  return text;
}

std::string float_literal(double number) {
  std::string text = number_text(number);
  if (text.find_first_not_of("-0123456789") == std::string::npos) text += ".0";
  return text;
}

}  // namespace lenet5
