#include "python/adapter/replay.h"

#include <memory>

namespace regroup::python {
namespace {

namespace py = pybind11;

bool python_lives() {
#if PY_VERSION_HEX >= 0x030D0000
  return Py_IsInitialized() && !Py_IsFinalizing();
#else
  return Py_IsInitialized() && !_Py_IsFinalizing();
#endif
}

// Let go of under the GIL; not at all where the interpreter has ended.
using Held = std::shared_ptr<py::function>;
Held hold(const py::function& f) {
  return Held(new py::function(f), [](py::function* p) {
    if (!python_lives()) return;
    py::gil_scoped_acquire gil;
    delete p;
  });
}

template <class F>
Status with_python(const char* what, F f) {
  if (!python_lives()) return {Code::kClosed, "the interpreter has ended"};
  py::gil_scoped_acquire gil;
  try {
    f();
    return {};
  } catch (py::error_already_set& e) {
    return {Code::kInvalid, std::string(what) + ": " + e.what()};
  } catch (const std::exception& e) {
    return {Code::kInvalid, std::string(what) + ": " + e.what()};
  }
}

}  // namespace

Replay replay_of(const std::vector<std::tuple<std::string, std::uintptr_t, std::size_t>>& buffers,
                 const py::function& save, const py::function& load, const py::function& apply) {
  Replay replay;
  for (const auto& [name, address, bytes] : buffers)
    replay.state.push_back({name, reinterpret_cast<void*>(address), bytes});
  StateBlob blob{"elastic", {}, {}};
  blob.save = [f = hold(save)] {
    std::vector<std::byte> bytes;
    (void)with_python("save", [&] {
      const std::string text = (*f)().cast<std::string>();
      const auto* at = reinterpret_cast<const std::byte*>(text.data());
      bytes.assign(at, at + text.size());
    }).ok();
    return bytes;  // empty where it failed: load says so
  };
  blob.load = [f = hold(load)](std::span<const std::byte> bytes) {
    return with_python("load", [&] { (*f)(py::bytes(reinterpret_cast<const char*>(bytes.data()), bytes.size())); });
  };
  replay.blobs.push_back(std::move(blob));
  replay.apply = [f = hold(apply)](std::uint64_t step, std::span<const StepResult> results) {
    return with_python("apply", [&] {
      py::list list;
      for (const StepResult& r : results) {
        py::object memory = py::none();
        if (r.data != nullptr)
          memory = py::memoryview::from_memory(const_cast<void*>(r.data), static_cast<py::ssize_t>(r.bytes));
        list.append(py::make_tuple(r.op, r.code == Code::kOk, memory, r.contributors));
      }
      (*f)(step, list);
    });
  };
  return replay;
}

}  // namespace regroup::python
