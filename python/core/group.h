// PyGroup and PyWork: what the binding keeps beside regroup::Group and regroup::Work.
//
// Ownership: an op's arrays stay alive until its outcome is known, whether or not anybody kept the Work; a group closes
// before the arrays that its pending ops refer to go away, and an array of registered memory keeps its group.
// Threading: every call that may wait releases the GIL; waits are cut in slices between which signals are looked at
// (Ctrl-C raises KeyboardInterrupt; the op stays pending). Fields are guarded by the GIL.
#pragma once

#include <nanobind/nanobind.h>
#include <nanobind/ndarray.h>

#include <deque>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "python/core/errors.h"
#include "regroup/regroup.h"

namespace regroup::python {

namespace nb = nanobind;

// A CPU array of NumPy, torch or anything else that speaks DLPack or the buffer protocol, contiguous.
using Array = nb::ndarray<nb::device::cpu, nb::c_contig>;
using ConstArray = nb::ndarray<nb::ro, nb::device::cpu, nb::c_contig>;

struct Pending {
  Work work;
  nb::object in, out;
};

struct PyGroup {
  explicit PyGroup(std::unique_ptr<Group> g);
  ~PyGroup();
  Group& get();
  void closed_ok();  // close at once; idempotent
  // Remembers what an op refers to until it is done.
  void keep(const Work& work, nb::object in, nb::object out);
  void saw(const Outcome& outcome) { members = outcome.contributors(); }

  std::shared_ptr<Group> group;
  std::deque<Pending> pending;
  std::size_t members = 0;  // of the view that the caller has seen
  double slice_s = 0.1;     // between two looks at signals
  nb::object state;         // arrays registered as state
};

struct PyWork {
  Work work;
  std::shared_ptr<Group> alive;
  nb::object owner;  // the PyGroup
  double slice_s = 0.1;
  double default_timeout_s = 300;
  Outcome wait(double timeout_s);
};

// Waits with the GIL released; looks at signals between slices.
Outcome wait_for(Work work, double timeout_s, double slice_s);

// Element type of an array; kInvalid names what it has.
DataType type_of(const nb::dlpack::dtype& dtype);

void bind_values(nb::module_& m);
void bind_group(nb::module_& m);
void bind_collectives(nb::class_<PyGroup>& group);

}  // namespace regroup::python
