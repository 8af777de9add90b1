#include "base/result.h"

namespace regroup {

const char* code_name(Code code) noexcept {
  switch (code) {
    case Code::kOk: return "kOk";
    case Code::kTimeout: return "kTimeout";
    case Code::kUnavailable: return "kUnavailable";
    case Code::kViewChanged: return "kViewChanged";
    case Code::kMismatch: return "kMismatch";
    case Code::kCancelled: return "kCancelled";
    case Code::kEvicted: return "kEvicted";
    case Code::kInvalid: return "kInvalid";
    case Code::kConfig: return "kConfig";
    case Code::kRefused: return "kRefused";
    case Code::kSystem: return "kSystem";
    case Code::kNoMemory: return "kNoMemory";
    case Code::kUnsupported: return "kUnsupported";
    case Code::kClosed: return "kClosed";
  }
  return "kUnknown";
}

}  // namespace regroup
