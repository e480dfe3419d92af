// Problem: C++'s streams bring 400 KB of locales into an addon that carries its own runtime. Resolution: to_chars,
// which knows of no locale; streams, told to heed none, only where the library has no to_chars for numbers with a
// point.
#include "number_text.h"

#include <charconv>
#ifndef __cpp_lib_to_chars
#include <locale>
#include <sstream>
#endif

namespace lenet5 {

namespace {

#ifdef __cpp_lib_to_chars
std::string with_digits(double number, int digits) {
  char text[32];
  return {text, std::to_chars(text, text + sizeof text, number, std::chars_format::general, digits).ptr};
}

bool reads_as(const std::string& text, double number) {
  double again = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), again);
  return error == std::errc() && again == number;
}
#else
std::string with_digits(double number, int digits) {
  std::ostringstream out;
  out.imbue(std::locale::classic());
  out.precision(digits);
  out << number;
  return out.str();
}

bool reads_as(const std::string& text, double number) {
  std::istringstream in(text);
  in.imbue(std::locale::classic());
  double again = 0;
  return in >> again && again == number;
}
#endif

}  // namespace

std::string number_text(double number) {
  std::string text;
  for (int digits = 1; digits <= 17; ++digits) {
    text = with_digits(number, digits);
    if (reads_as(text, number)) break;
  }
  return text;
}

std::string float_literal(double number) {
  std::string text = number_text(number);
  if (text.find_first_not_of("-0123456789") == std::string::npos) text += ".0";
  return text;
}

}  // namespace lenet5
