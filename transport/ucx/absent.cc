// In a build without UCX.
#include "transport/ucx/ucx.h"

namespace regroup::ucx {

Result<std::shared_ptr<tcp::Lanes>> open_lanes(std::uint64_t, const std::string&, std::uint32_t) {
  return {Code::kUnsupported, "transport ucx: this library was built without UCX (REGROUP_UCX, Debian: libucx-dev)"};
}

}  // namespace regroup::ucx
