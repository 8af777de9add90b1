// The module regroup._core: values, options, errors. No torch here and no protocol: only the public API.
#include <nanobind/operators.h>
#include <nanobind/stl/pair.h>
#include <nanobind/stl/string.h>
#include <nanobind/stl/vector.h>

#include "python/core/group.h"

namespace regroup::python {

void bind_values(nb::module_& m) {
  nb::enum_<ReduceOp>(m, "ReduceOp", "How members' elements are folded.")
      .value("SUM", ReduceOp::kSum)
      .value("AVG", ReduceOp::kAvg, "The sum divided by the number of contributors.")
      .value("PROD", ReduceOp::kProd)
      .value("MIN", ReduceOp::kMin)
      .value("MAX", ReduceOp::kMax);
  nb::class_<MemberId>(m, "MemberId", "Who a member is: stable over restarts.")
      .def(nb::init<std::uint32_t, std::uint32_t>(), nb::arg("replica"), nb::arg("rank") = 0)
      .def_ro("replica", &MemberId::replica)
      .def_ro("rank", &MemberId::rank)
      .def(
          "__eq__", [](const MemberId& a, const MemberId& b) { return a == b; }, nb::is_operator())
      .def("__hash__", [](const MemberId& a) { return (std::uint64_t{a.replica} << 20) + a.rank; })
      .def("__repr__", [](const MemberId& a) { return "MemberId(" + to_string(a) + ")"; });
  nb::class_<ViewInfo>(m, "View", "The numbered, ordered membership that ops are executed in.")
      .def_ro("log", &ViewInfo::log)
      .def_ro("epoch", &ViewInfo::epoch)
      .def_ro("members", &ViewInfo::members)
      .def_ro("index", &ViewInfo::self, "Index of this member in `members`.")
      .def_ro("transport", &ViewInfo::transport)
      .def_ro("reason", &ViewInfo::reason)
      .def("__len__", &ViewInfo::size)
      .def("__repr__", [](const ViewInfo& v) {
        std::string text = "View(epoch=" + std::to_string(v.epoch) + ", members=[";
        for (std::size_t i = 0; i < v.members.size(); ++i) text += (i ? ", " : "") + to_string(v.members[i]);
        return text + "], reason='" + v.reason + "')";
      });
  nb::class_<Outcome>(m, "Outcome", "What a committed collective did.")
      .def_ro("op", &Outcome::op)
      .def_ro("epoch", &Outcome::epoch)
      .def_ro("attempts", &Outcome::attempts, "Executions at this member: 2 or more after a redo.")
      .def_prop_ro("plan", [](const Outcome& o) { return std::string(o.plan); })
      .def_prop_ro("view", [](const Outcome& o) { return o.view ? *o.view : ViewInfo{}; })
      .def_prop_ro(
          "contributors", [](const Outcome& o) { return o.contributors(); }, "How many members took part.")
      .def("__repr__", [](const Outcome& o) {
        return "Outcome(op=" + std::to_string(o.op) + ", epoch=" + std::to_string(o.epoch) +
               ", contributors=" + std::to_string(o.contributors()) + ", attempts=" + std::to_string(o.attempts) + ")";
      });
  nb::class_<Options>(m, "Options", "Options of a group; regroup.join() takes them as keywords.")
      .def(nb::init<>())
      .def_static(
          "from_environment", [] { return unwrap(Options::from_environment()); },
          "Defaults, then REGROUP_* (and RANK, WORLD_SIZE) of the environment.")
      .def(
          "set", [](Options& o, const std::string& key, const std::string& value) { unwrap(o.set(key, value)); },
          nb::arg("key"), nb::arg("value"), "Sets one option from text. ConfigError: unknown, or not a valid value.")
      .def("effective", &Options::effective, "All settable options with their values; the secret is masked.")
      .def("validate", [](const Options& o) { unwrap(o.validate()); });
}

}  // namespace regroup::python

NB_MODULE(_core, m) {
  m.doc() = "Binding of the public API of libregroup. Use the names of the package `regroup`.";
  regroup::python::bind_values(m);
  regroup::python::bind_group(m);
  m.def("code_name", [](int code) { return std::string(regroup::code_name(static_cast<regroup::Code>(code))); });
}
