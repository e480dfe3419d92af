// Values out of JavaScript, checked in the call that uses them.
//
// Problem: the facade in lib/ checks what it hands over, but what it has checked may be another thing by the time it is
// used: a typed array's buffer is transferred, an array's getter answers differently the second time. What memory
// safety rests on must not be a promise of somebody else. Resolution: everything that comes in goes through these
// functions. They throw an Error with a code, never read outside an array, and each value is read once.
//
// A view is good only until JavaScript runs again, and reading a property may run JavaScript: first all properties are
// read, then the views are taken and copied.
#pragma once

#include <napi.h>

#include <cstdint>
#include <string>
#include <vector>

namespace lenet5::addon {

// What a value is, for the tail of an error message.
std::string describe(const Napi::Value& value);

// Each throws INVALID_ARGUMENT for another kind of value; `where` names the value in the message.
double number_of(const Napi::Value& value, const char* where);
// A whole number in a range.
int64_t integer_of(const Napi::Value& value, const char* where, int64_t least, int64_t largest);
bool boolean_of(const Napi::Value& value, const char* where);
std::string text_of(const Napi::Value& value, const char* where);
Napi::Object object_of(const Napi::Value& value, const char* where);
Napi::Array array_of(const Napi::Value& value, const char* where);
Napi::Function function_of(const Napi::Value& value, const char* where);

// A typed array's own memory.
template <typename T>
struct View {
  T* data;
  size_t length;
};

// Any kind of typed array, by its bytes.
struct BytesView {
  napi_typedarray_type type;
  const uint8_t* data;
  size_t bytes;
};
BytesView bytes_view_of(const Napi::Value& value, const char* where);

// A typed array of just this element type, whose buffer is not detached. Throws INVALID_DTYPE for another kind and
// INVALID_ARGUMENT for a detached one. T is float, uint8_t or int32_t.
template <typename T>
View<T> view_of(const Napi::Value& value, const char* where);

template <typename T>
std::vector<T> copy_of(const Napi::Value& value, const char* where) {
  const View<T> view = view_of<T>(value, where);
  return std::vector<T>(view.data, view.data + view.length);
}

// The largest integer that JavaScript's numbers tell from its neighbours.
constexpr int64_t kMaxSafeInteger = 9007199254740991;

}  // namespace lenet5::addon
