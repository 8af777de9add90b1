// Group and Work: life, waits, views, memory.
#include "python/core/group.h"

#include <nanobind/stl/function.h>
#include <nanobind/stl/optional.h>
#include <nanobind/stl/string.h>
#include <nanobind/stl/vector.h>

#include <algorithm>
#include <chrono>
#include <future>
#include <thread>

namespace regroup::python {

using Clock = std::chrono::steady_clock;

PyGroup::PyGroup(std::unique_ptr<Group> g) : group(std::move(g)) {
  nb::gil_scoped_release free;
  members = group->view().size();
  if (!group->options().trace_file.empty()) slice_s = 2;  // an expired bound writes the trace
}

PyGroup::~PyGroup() { closed_ok(); }

Group& PyGroup::get() {
  if (!group) raise(Code::kClosed, "the group was closed");
  return *group;
}

void PyGroup::closed_ok() {
  if (!group) return;
  {
    nb::gil_scoped_release free;
    group->detach();
  }
  pending.clear();
  group.reset();
}

void PyGroup::keep(const Work& work, nb::object in, nb::object out) {
  while (!pending.empty() && pending.front().work.done()) pending.pop_front();
  if (!work.done()) pending.push_back({work, std::move(in), std::move(out)});
}

Outcome wait_for(Work work, double timeout_s, double slice_s) {
  const auto until = Clock::now() + std::chrono::duration<double>(std::min(timeout_s, 1e9));
  while (true) {
    Result<Outcome> result(Code::kTimeout, "");
    const double left = std::chrono::duration<double>(until - Clock::now()).count();
    {
      nb::gil_scoped_release free;
      result = work.wait(std::max(1e-6, std::min(left, slice_s)));
    }
    if (PyErr_CheckSignals() != 0) throw nb::python_error();
    if (result.ok() || result.code() != Code::kTimeout || left <= slice_s) return unwrap(std::move(result));
  }
}

Outcome PyWork::wait(double timeout_s) {
  Outcome outcome = wait_for(work, timeout_s > 0 ? timeout_s : default_timeout_s, slice_s);
  nb::cast<PyGroup&>(owner).saw(outcome);
  return outcome;
}

namespace {

// Callbacks come on other threads, also while the interpreter ends: then there is nobody to call.
template <class F>
void with_python(F f) {
#if PY_VERSION_HEX >= 0x030D0000
  const bool over = Py_IsFinalizing() != 0;
#else
  const bool over = _Py_IsFinalizing() != 0;
#endif
  if (over || !Py_IsInitialized()) return;
  nb::gil_scoped_acquire hold;
  try {
    f();
  } catch (nb::python_error& e) {
    e.discard_as_unraisable("callback of a regroup.Group");
  }
}

nb::object join(Options options, const nb::object& state, std::optional<nb::callable> on_restored,
                std::optional<nb::callable> on_view) {
  nb::dict arrays;
  if (!state.is_none())
    for (auto [name, value] : nb::cast<nb::dict>(state)) {
      Array array;
      if (!nb::try_cast(value, array, false)) raise(Code::kInvalid, "state: not a writable contiguous array");
      options.state.push_back({nb::cast<std::string>(name), array.data(), array.nbytes()});
      arrays[name] = nb::cast(array);
    }
  if (on_restored) options.on_restored = [f = *on_restored] { with_python([&] { f(); }); };
  if (on_view) options.on_view = [f = *on_view](const ViewInfo& v) { with_python([&] { f(nb::cast(v)); }); };
  // On a thread of its own, so that Ctrl-C ends the wait; what comes of it then is closed.
  auto joining = std::make_shared<std::promise<Result<std::unique_ptr<Group>>>>();
  auto joined = joining->get_future();
  std::thread([joining, options = std::move(options)]() mutable {
    joining->set_value(Group::join(std::move(options)));
  }).detach();
  while (true) {
    {
      nb::gil_scoped_release free;
      if (joined.wait_for(std::chrono::milliseconds(100)) == std::future_status::ready) break;
    }
    if (PyErr_CheckSignals() != 0) throw nb::python_error();
  }
  auto py = std::make_unique<PyGroup>(unwrap(joined.get()));
  py->state = std::move(arrays);
  return nb::cast(py.release(), nb::rv_policy::take_ownership);
}

nb::object allocate(nb::handle self, std::size_t bytes) {
  auto& py = nb::cast<PyGroup&>(self);
  Group& group = py.get();
  Result<void*> memory(Code::kNoMemory, "");
  {
    nb::gil_scoped_release free;
    memory = group.allocate(std::max<std::size_t>(bytes, 1));
  }
  struct Hold {
    std::shared_ptr<Group> group;
    void* memory;
  };
  auto* hold = new Hold{py.group, unwrap(std::move(memory))};
  nb::capsule owner(hold, [](void* p) noexcept {
    auto* h = static_cast<Hold*>(p);
    nb::gil_scoped_release free;
    (void)h->group->deallocate(h->memory);  // the group's end frees what is left
    h->group.reset();
    delete h;
  });
  return nb::cast(nb::ndarray<nb::numpy, std::uint8_t, nb::ndim<1>>(hold->memory, {bytes}, owner),
                  nb::rv_policy::reference);
}

nb::object split(nb::handle self, std::optional<int> color, int key) {
  Group& group = nb::cast<PyGroup&>(self).get();
  Result<std::unique_ptr<Group>> child(Code::kTimeout, "");
  {
    nb::gil_scoped_release free;
    child = group.split(color.value_or(Group::kNoColor), key);
  }
  std::unique_ptr<Group> got = unwrap(std::move(child));
  if (!got) return nb::none();
  return nb::cast(new PyGroup(std::move(got)), nb::rv_policy::take_ownership);
}

}  // namespace

void bind_group(nb::module_& m) {
  nb::class_<PyWork>(m, "Work", "Handle of an asynchronous collective.")
      .def("wait", &PyWork::wait, nb::arg("timeout") = 0.0,
           "Waits for the outcome; timeout in seconds, 0: the group's wait_timeout_s. regroup.TimeoutError abandons "
           "nothing: wait again. Ctrl-C raises KeyboardInterrupt and leaves the op pending.")
      .def("done", [](PyWork& w) { return w.work.done(); })
      .def_prop_ro(
          "op", [](PyWork& w) { return w.work.op(); }, "Number of the op in its group; 0: none yet.")
      .def(
          "cancel",
          [](PyWork& w) {
            nb::gil_scoped_release free;
            w.work.cancel();
          },
          "Asks for a decision that fails this op at every member (regroup.Cancelled). May come too late.");

  nb::class_<PyGroup> g(m, "Group",
                        "A named set of members that run collectives together, and go on when one dies or comes back.\n"
                        "All members call the same ops in the same order; one thread at a time may call.");
  m.def("_join", &join, nb::arg("options"), nb::arg("state") = nb::none(), nb::arg("on_restored") = nb::none(),
        nb::arg("on_view") = nb::none());
  g.def(
      "view",
      [](PyGroup& s) {
        ViewInfo view;
        Group& group = s.get();
        {
          nb::gil_scoped_release free;
          view = group.view();
        }
        s.members = view.size();
        return view;
      },
      "The installed view; the caller has seen it then (ops whose shape is the membership compare).");
  g.def_prop_ro("id", [](PyGroup& s) { return s.get().id(); });
  g.def_prop_ro(
      "rank", [](PyGroup& s) { return s.get().id().replica; }, "Replica id of this member.");
  g.def_prop_ro(
      "steps", [](PyGroup& s) { return s.get().steps(); }, "Marks settled since the group began.");
  g.def_prop_ro("last_restore_s", [](PyGroup& s) { return s.get().last_restore_s(); });
  g.def_prop_ro(
      "options", [](PyGroup& s) { return s.get().options(); }, "A copy of the effective options.");
  g.def(
      "flight_record", [](PyGroup& s) { return s.get().flight_record(); }, "The flight recorder as JSON lines.");
  g.def(
      "allocate", [](nb::handle self, std::size_t bytes) { return allocate(self, bytes); }, nb::arg("nbytes"),
      "Registered shared memory as a uint8 array of NumPy: peers on the host read it directly. Zeroed. Freed with "
      "the last array that refers to it (waits for ops in flight). See empty() for shapes and types.",
      nb::sig("def allocate(self, nbytes: int) -> numpy.typing.NDArray[numpy.uint8]"));
  g.def(
      "split", [](nb::handle self, std::optional<int> color, int key) { return split(self, color, key); },
      nb::arg("color").none(), nb::arg("key") = 0,
      "One sub-group per colour; None: member of none (returns None). Every member calls it.",
      nb::sig("def split(self, color: int | None, key: int = 0) -> Group | None"));
  g.def("group_start", [](PyGroup& s) { unwrap(s.get().group_start()); });
  g.def("group_end", [](PyGroup& s) {
    Group& group = s.get();
    Status status;
    {
      nb::gil_scoped_release free;
      status = group.group_end();
    }
    unwrap(status);
  });
  g.def(
      "leave",
      [](PyGroup& s, double timeout) {
        Group& group = s.get();
        Status status;
        {
          nb::gil_scoped_release free;
          status = group.leave(timeout);
        }
        unwrap(status);
      },
      nb::arg("timeout") = 0.0, "Leaves at the next mark; nobody loses a step. Bounded.");
  g.def("close", &PyGroup::closed_ok, "Closes at once, as if the process had died; leave() first for a drain.");
  bind_collectives(g);
}

}  // namespace regroup::python
