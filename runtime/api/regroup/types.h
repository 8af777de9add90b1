// Values of the public API: what a collective is given and what it returns.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "base/dtype.h"
#include "base/ids.h"
#include "base/result.h"

namespace regroup {

// A view: the numbered, ordered membership that ops are executed in. Immutable.
struct ViewInfo {
  LogId log = 0;
  Epoch epoch = 0;
  std::vector<MemberId> members;  // in canonical order
  std::size_t self = 0;           // index of this member
  std::string transport;          // "shm" or "tcp"
  std::string reason;             // why this view was made: "join:2", "dead:1", ...
  [[nodiscard]] std::size_t size() const { return members.size(); }
};

// What a committed collective did. The same at every member that committed it (G1), but for `attempts`.
struct Outcome {
  OpId op = 0;
  Epoch epoch = 0;                       // the view it committed in
  std::shared_ptr<const ViewInfo> view;  // its members are the contributors
  std::uint32_t attempts = 1;            // executions at this member: 2 or more after a redo
  const char* plan = "";                 // how it was carried out: "small", "waist", "direct"
  [[nodiscard]] std::size_t contributors() const { return view ? view->members.size() : 0; }
};

struct OpOptions {
  // This op ends a step. Only looked at when Options::explicit_marks is set; else every op is a mark.
  bool mark = false;
  // Bound of a blocking call; 0: Options::wait_timeout. On kTimeout the op is still pending: submit async to wait again.
  double timeout_s = 0;
  // Reductions: points at one element of the op's type, read at the call. This member's input is multiplied by it before
  // the fold (NCCL's pre-multiplied sum). Every member gives one, each its own, or none does.
  const void* premultiply = nullptr;
};

// A named buffer of the caller's state. A returning member has it filled from a living one before it contributes.
// May change only between the commit of a mark and the submission of the next op. Sizes must be equal at all members.
struct StateBuffer {
  std::string name;
  void* data = nullptr;
  std::size_t bytes = 0;
};

using ViewCallback = std::function<void(const ViewInfo&)>;

}  // namespace regroup
