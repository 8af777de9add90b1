// Collectives on arrays: types, counts and shapes are checked here, before anything is submitted.
#include <nanobind/stl/string.h>

#include "python/core/group.h"

namespace regroup::python {

DataType type_of(const nb::dlpack::dtype& d) {
  using Kind = nb::dlpack::dtype_code;
  const auto kind = static_cast<Kind>(d.code);
  if (d.lanes == 1) {
    if (kind == Kind::Float && d.bits == 64) return DataType::kF64;
    if (kind == Kind::Float && d.bits == 32) return DataType::kF32;
    if (kind == Kind::Float && d.bits == 16) return DataType::kF16;
    if (kind == Kind::Bfloat && d.bits == 16) return DataType::kBF16;
    if (kind == Kind::Int && d.bits == 8) return DataType::kI8;
    if (kind == Kind::UInt && d.bits == 8) return DataType::kU8;
    if (kind == Kind::Int && d.bits == 32) return DataType::kI32;
    if (kind == Kind::UInt && d.bits == 32) return DataType::kU32;
    if (kind == Kind::Int && d.bits == 64) return DataType::kI64;
    if (kind == Kind::UInt && d.bits == 64) return DataType::kU64;
  }
  raise(Code::kInvalid, "element type (code " + std::to_string(d.code) + ", " + std::to_string(d.bits) +
                            " bits) is none of float64/32/16, bfloat16, (u)int8, (u)int32, (u)int64");
}

namespace {

using Output = nb::object;  // an array or None

// Never a converted copy: the op works on the caller's own memory.
template <class A>
A array_of(const nb::object& object, const char* what) {
  A array;
  if (!nb::try_cast(object, array, false))
    raise(Code::kInvalid,
          std::string(what) + ": not a" + (std::is_same_v<A, Array> ? " writable" : "n") +
              " contiguous array in host memory: " + nb::cast<std::string>(nb::str(nb::handle(Py_TYPE(object.ptr())))));
  return array;
}

// One collective as given: what to read, where to write, how many elements a member gives.
struct Call {
  const void* in = nullptr;
  void* out = nullptr;
  std::size_t count = 0;
  DataType type = DataType::kU8;
  OpOptions options;
};

void same_type(const ConstArray& in, const Array& out) {
  if (!(in.dtype() == out.dtype())) raise(Code::kInvalid, "input and output have different element types");
}
void need(std::size_t have, std::size_t want, const char* what) {
  if (have != want)
    raise(Code::kInvalid,
          std::string(what) + " has " + std::to_string(have) + " elements, " + std::to_string(want) + " are needed");
}
// In place where there is no output: the input must be writable then.
Array target(const nb::object& in, const Output& out) {
  return out.is_none() ? array_of<Array>(in, "array (in place without out)") : array_of<Array>(out, "out");
}

// Submits, and waits when the call blocks.
template <bool kAsync, class F>
auto submit(nb::handle self, nb::object in, nb::object out, double timeout_s, F call) {
  auto& py = nb::cast<PyGroup&>(self);
  Group& group = py.get();
  Work work;
  {
    nb::gil_scoped_release free;
    work = call(group);
  }
  if constexpr (kAsync) {
    py.keep(work, std::move(in), std::move(out));
    return PyWork{work, py.group, nb::borrow(self), py.slice_s, group.options().wait_timeout_s};
  } else {
    try {
      Outcome outcome = wait_for(work, timeout_s > 0 ? timeout_s : group.options().wait_timeout_s, py.slice_s);
      py.saw(outcome);
      return outcome;
    } catch (...) {
      py.keep(work, std::move(in), std::move(out));  // after a time-out or Ctrl-C the op is still pending
      throw;
    }
  }
}

// The shapes: members' blocks in the input, in the output. kRoot*: only at the root.
enum class Shape { kSame, kOutBlocks, kInBlocks, kBothBlocks };

template <Shape kShape, bool kAsync>
Call shape(PyGroup& py, const nb::object& in, const Output& out, bool mark, bool whole) {
  const ConstArray from = array_of<ConstArray>(in, "array");
  const Array to = target(in, out);
  same_type(from, to);
  Call c{from.data(), to.data(), from.size(), type_of(from.dtype()), {}};
  c.options.mark = mark;
  c.options.wait_follows = !kAsync;
  const std::size_t n = whole ? py.members : 1;
  if (kShape == Shape::kSame) need(to.size(), from.size(), "out");
  if (kShape == Shape::kOutBlocks && whole) need(to.size(), from.size() * n, "out");
  if (kShape == Shape::kInBlocks) {
    c.count = to.size();
    if (whole) need(from.size(), to.size() * n, "in");
  }
  if (kShape == Shape::kBothBlocks) {
    need(to.size(), from.size(), "out");
    need(from.size() % n, 0, "in, over whole blocks,");
    c.count = from.size() / n;
  }
  return c;
}

MemberId member(std::uint32_t replica) { return {replica, 0}; }

template <bool kAsync>
void bind(nb::class_<PyGroup>& g) {
  const auto name = [](const char* n) { return std::string(n) + (kAsync ? "_async" : ""); };
  const nb::arg mark("mark"), timeout("timeout");
  const auto rank = [](nb::handle self) { return nb::cast<PyGroup&>(self).get().id().replica; };

  g.def(
      name("all_reduce").c_str(),
      [](nb::handle s, nb::object in, Output out, ReduceOp op, bool m, double t) {
        const Call c = shape<Shape::kSame, kAsync>(nb::cast<PyGroup&>(s), in, out, m, true);
        return submit<kAsync>(
            s, in, out, t, [&](Group& x) { return x.all_reduce_async(c.in, c.out, c.count, c.type, op, c.options); });
      },
      nb::arg("array"), nb::arg("out").none() = nb::none(), nb::arg("op") = ReduceOp::kSum, mark = false, timeout = 0.0,
      "out[i] = op over members of array[i]; without out in place.");

  g.def(
      name("reduce").c_str(),
      [](nb::handle s, nb::object in, std::uint32_t root, Output out, ReduceOp op, bool m, double t) {
        const Call c = shape<Shape::kSame, kAsync>(nb::cast<PyGroup&>(s), in, out, m, true);
        return submit<kAsync>(s, in, out, t, [&](Group& x) {
          return x.reduce_async(c.in, c.out, c.count, c.type, op, member(root), c.options);
        });
      },
      nb::arg("array"), nb::arg("root"), nb::arg("out").none() = nb::none(), nb::arg("op") = ReduceOp::kSum,
      mark = false, timeout = 0.0, "all_reduce for the root alone. ViewChanged if the root is gone.");

  g.def(
      name("broadcast").c_str(),
      [](nb::handle s, nb::object in, std::uint32_t root, bool m, double t) {
        const Call c = shape<Shape::kSame, kAsync>(nb::cast<PyGroup&>(s), in, nb::none(), m, true);
        return submit<kAsync>(s, in, nb::none(), t, [&](Group& x) {
          return x.broadcast_async(c.out, c.count, c.type, member(root), c.options);
        });
      },
      nb::arg("array"), nb::arg("root"), mark = false, timeout = 0.0, "The root's array to everyone's.");

  g.def(
      name("all_gather").c_str(),
      [](nb::handle s, nb::object in, Output out, bool m, double t) {
        const Call c = shape<Shape::kOutBlocks, kAsync>(nb::cast<PyGroup&>(s), in, out, m, true);
        return submit<kAsync>(s, in, out, t,
                              [&](Group& x) { return x.all_gather_async(c.in, c.out, c.count, c.type, c.options); });
      },
      nb::arg("array"), nb::arg("out"), mark = false, timeout = 0.0,
      "Members' arrays in member order; out holds one block per member of the view last seen. ViewChanged: look at "
      "view(), call again.");

  g.def(
      name("reduce_scatter").c_str(),
      [](nb::handle s, nb::object in, Output out, ReduceOp op, bool m, double t) {
        const Call c = shape<Shape::kInBlocks, kAsync>(nb::cast<PyGroup&>(s), in, out, m, true);
        return submit<kAsync>(s, in, out, t, [&](Group& x) {
          return x.reduce_scatter_async(c.in, c.out, c.count, c.type, op, c.options);
        });
      },
      nb::arg("array"), nb::arg("out"), nb::arg("op") = ReduceOp::kSum, mark = false, timeout = 0.0,
      "out = this member's block of the fold of everybody's array.");

  g.def(
      name("all_to_all").c_str(),
      [](nb::handle s, nb::object in, Output out, bool m, double t) {
        const Call c = shape<Shape::kBothBlocks, kAsync>(nb::cast<PyGroup&>(s), in, out, m, true);
        return submit<kAsync>(s, in, out, t,
                              [&](Group& x) { return x.all_to_all_async(c.in, c.out, c.count, c.type, c.options); });
      },
      nb::arg("array"), nb::arg("out"), mark = false, timeout = 0.0,
      "Block j of my array becomes my block of member j's out.");

  g.def(
      name("gather").c_str(),
      [rank](nb::handle s, nb::object in, std::uint32_t root, Output out, bool m, double t) {
        const bool here = rank(s) == root;
        if (here && out.is_none()) raise(Code::kInvalid, "gather: the root gives an `out`");
        Call c = shape<Shape::kOutBlocks, kAsync>(nb::cast<PyGroup&>(s), in, here ? out : Output(in), m, here);
        if (!here) c.out = nullptr;
        return submit<kAsync>(s, in, out, t, [&](Group& x) {
          return x.gather_async(c.in, c.out, c.count, c.type, member(root), c.options);
        });
      },
      nb::arg("array"), nb::arg("root"), nb::arg("out").none() = nb::none(), mark = false, timeout = 0.0,
      "all_gather for the root alone.");

  g.def(
      name("scatter").c_str(),
      [rank](nb::handle s, nb::object out, std::uint32_t root, nb::object in, bool m, double t) {
        const bool here = rank(s) == root;
        if (here && in.is_none()) raise(Code::kInvalid, "scatter: the root gives an `array`");
        const Array to = array_of<Array>(out, "out");
        ConstArray all;
        if (here) {
          all = array_of<ConstArray>(in, "array");
          same_type(all, to);
          need(all.size(), to.size() * nb::cast<PyGroup&>(s).members, "array");
        }
        OpOptions options;
        options.mark = m;
        options.wait_follows = !kAsync;
        const void* from = here ? all.data() : nullptr;
        const DataType type = type_of(to.dtype());
        return submit<kAsync>(s, in, out, t, [&](Group& x) {
          return x.scatter_async(from, to.data(), to.size(), type, member(root), options);
        });
      },
      nb::arg("out"), nb::arg("root"), nb::arg("array").none() = nb::none(), mark = false, timeout = 0.0,
      "Block j of the root's array becomes member j's out.");

  g.def(
      name("send").c_str(),
      [](nb::handle s, nb::object in, std::uint32_t to, double t) {
        const ConstArray from = array_of<ConstArray>(in, "array");
        const DataType type = type_of(from.dtype());
        return submit<kAsync>(s, in, nb::none(), t,
                              [&](Group& x) { return x.send_async(from.data(), from.size(), type, member(to), {}); });
      },
      nb::arg("array"), nb::arg("to"), timeout = 0.0, "A message; the n-th send of a pair meets its n-th recv.");

  g.def(
      name("recv").c_str(),
      [](nb::handle s, nb::object out, std::uint32_t from, double t) {
        const Array to = array_of<Array>(out, "array");
        const DataType type = type_of(to.dtype());
        return submit<kAsync>(s, out, nb::none(), t,
                              [&](Group& x) { return x.recv_async(to.data(), to.size(), type, member(from), {}); });
      },
      nb::arg("array"), nb::arg("source"), timeout = 0.0, "Takes the next message of `source`.");

  g.def(
      name("barrier").c_str(),
      [](nb::handle s, bool m, double t) {
        OpOptions options;
        options.mark = m;
        options.wait_follows = !kAsync;
        return submit<kAsync>(s, nb::none(), nb::none(), t, [&](Group& x) { return x.barrier_async(options); });
      },
      mark = false, timeout = 0.0);
}

}  // namespace

void bind_collectives(nb::class_<PyGroup>& group) {
  bind<false>(group);
  bind<true>(group);
}

}  // namespace regroup::python
