// Errors of the binding: a Result's error becomes an exception of regroup.errors, with its code. The GIL is held.
#pragma once

#include <nanobind/nanobind.h>

#include "regroup/regroup.h"

namespace regroup::python {

// Throws the Python exception of regroup.errors for this code. Never returns.
[[noreturn]] void raise(const Error& error);
[[noreturn]] void raise(Code code, const std::string& detail);

template <class T>
T unwrap(Result<T> result) {
  if (!result) raise(result.error());
  return std::move(result).value();
}
inline void unwrap(const Status& status) {
  if (!status.ok()) raise(status.error());
}

}  // namespace regroup::python
