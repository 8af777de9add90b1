// The module regroup.torch._c10d: makes backends for torch.distributed. Built for one torch; regroup.torch checks
// which.
#include <torch/extension.h>
#include <torch/version.h>

#include "python/adapter/backend.h"
#include "python/adapter/replay.h"

namespace regroup::python {
namespace {

// Ctrl-C in a wait: the handlers run on Python's main thread only, here when that is who waits.
void check_signals() {
  if (!Py_IsInitialized()) return;
  pybind11::gil_scoped_acquire hold;
  if (PyErr_CheckSignals() != 0) throw pybind11::error_already_set();
}

const char* error_name(RegroupBackend& backend) {
  switch (backend.getError()) {
    case c10d::ErrorType::SUCCESS: return "success";
    case c10d::ErrorType::TIMEOUT: return "timeout";
    case c10d::ErrorType::REMOTE_ERROR: return "remote_error";
    default: return "comm_error";
  }
}

c10::intrusive_ptr<RegroupBackend> create(int rank, int size, double timeout_s, const std::string& coordinator,
                                          const std::string& group, const std::string& root,
                                          const std::map<std::string, std::string>& options, bool fixed_divisor,
                                          bool stand_in_root, bool error_when_lost, bool deferred) {
  BackendConfig config{coordinator, group, root, options, fixed_divisor, error_when_lost, deferred, stand_in_root};
  pybind11::gil_scoped_release free;
  return c10::make_intrusive<RegroupBackend>(rank, size, Millis(static_cast<std::int64_t>(timeout_s * 1000)),
                                             std::move(config));
}

}  // namespace
}  // namespace regroup::python

PYBIND11_MODULE(_c10d, m) {
  using namespace regroup::python;
  check_interrupt = &check_signals;
  const auto free = pybind11::call_guard<pybind11::gil_scoped_release>();
  m.attr("torch_version") = TORCH_VERSION;
  pybind11::module_::import("torch._C._distributed_c10d");
  pybind11::class_<RegroupBackend, c10d::Backend, c10::intrusive_ptr<RegroupBackend>>(m, "RegroupBackend")
      .def("contributors", &RegroupBackend::contributors, free, "Ranks that took part in the last op that committed.")
      .def("members", &RegroupBackend::members, free, "Ranks that are in the group now.")
      .def("get_error", &error_name, free,
           "What the last op that failed failed of: success, timeout, remote_error or comm_error.")
      .def("mark", &RegroupBackend::mark, free)
      .def(
          "join_now", [](RegroupBackend& b) { b.join_now(nullptr); }, free, "With pg_options elastic: joins.")
      .def(
          "join_with",
          [](RegroupBackend& b, const std::vector<std::tuple<std::string, std::uintptr_t, std::size_t>>& buffers,
             const pybind11::function& save, const pybind11::function& load, const pybind11::function& apply) {
            const Replay replay = replay_of(buffers, save, load, apply);
            pybind11::gil_scoped_release off;
            b.join_now(&replay);
          },
          "The same, with registered state: see regroup/torch/_replay.py.")
      .def("average", &RegroupBackend::average, free)
      .def("averaged", &RegroupBackend::averaged, free)
      .def("end_step", &RegroupBackend::end_step, free)
      .def("begin_update", &RegroupBackend::begin_update, free)
      .def("end_update", &RegroupBackend::end_update, free)
      .def("caught_up",
           [](const RegroupBackend& b) {
             const regroup::CatchUp c = b.caught_up();
             pybind11::dict d;
             d["seconds"] = c.seconds, d["snapshots"] = c.snapshots, d["replayed"] = c.replayed_steps;
             return d;
           })
      .def_property_readonly("last_op", &RegroupBackend::last_op)
      .def_property_readonly("deferred", [](const RegroupBackend& b) { return b.config().deferred; })
      .def_property_readonly("explicit_marks", &RegroupBackend::explicit_marks)
      .def("epoch", &RegroupBackend::epoch, free)
      .def_property_readonly("coordinator", [](const RegroupBackend& b) { return b.config().coordinator; })
      .def_property_readonly("group", [](const RegroupBackend& b) { return b.config().group; })
      .def_property_readonly("root", [](const RegroupBackend& b) { return b.config().root; });
  m.def("create", &create, pybind11::arg("rank"), pybind11::arg("size"), pybind11::arg("timeout_s"),
        pybind11::arg("coordinator"), pybind11::arg("group"), pybind11::arg("root"), pybind11::arg("options"),
        pybind11::arg("fixed_divisor"), pybind11::arg("stand_in_root"), pybind11::arg("error_when_lost"),
        pybind11::arg("deferred") = false);
}
