#include "python/core/errors.h"

#include <nanobind/stl/string.h>

namespace nb = nanobind;

namespace regroup::python {

void raise(const Error& error) {
  nb::object made = nb::module_::import_("regroup.errors").attr("make")(static_cast<int>(error.code), error.detail);
  PyErr_SetObject(reinterpret_cast<PyObject*>(Py_TYPE(made.ptr())), made.ptr());
  throw nb::python_error();
}

void raise(Code code, const std::string& detail) { raise(Error{code, detail}); }

}  // namespace regroup::python
