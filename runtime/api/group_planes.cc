// Which plane carries the ops of a view, and by which plans.
#include <signal.h>

#include <algorithm>
#include <cerrno>

#include "ft/driver/death_watch.h"
#include "kernels/device/host_device.h"
#include "kernels/open_device.h"
#include "runtime/api/group_impl.h"
#include "transport/wire/address.h"

namespace regroup {

// How the ops of a network view are carried out: by the options marked (=) and what the decision says of the members'
// machines, so alike at every member.
algo::Rules GroupImpl::plan_rules(const View& view, PlaneKind plane) const {
  algo::Rules rules;
  rules.small_bytes = options_.small_bytes;
  rules.canonical = options_.order == "canonical";
  rules.form = algo::form_named(options_.plan);
  std::vector<wire::MemberAddress> addresses;
  for (const MemberInfo& m : view.members)
    if (Result<wire::MemberAddress> address = wire::decode_address(m.address)) addresses.push_back(std::move(*address));
  std::vector<std::string> hosts;  // two names of one host are one host where its members can tell
  for (const wire::MemberAddress& a : addresses) hosts.push_back(a.host != 0 ? std::to_string(a.host) : a.data_host);
  std::vector<algo::MemberMachine> machines;
  for (const wire::MemberAddress& address : addresses) {
    machines.push_back({hosts[machines.size()], {}});
    if (algo::Machine said; said.parse(address.machine).ok()) machines.back().machine = said;
  }
  rules.machine = algo::agree(machines);
  rules.machine.small_bytes = options_.small_bytes;
  if (plane != PlaneKind::kHybrid || options_.plan != "hierarchical") return rules;
  std::vector<std::size_t> first;  // member of each host
  for (std::size_t i = 0; i < view.members.size(); ++i) {
    const std::uint64_t here = view.members[i].locality;
    const auto at = std::find_if(first.begin(), first.end(), [&](std::size_t f) { return here != 0 && view.members[f].locality == here; });
    rules.hosts.push_back(static_cast<std::uint32_t>(at - first.begin()));
    if (at == first.end()) first.push_back(i);
  }
  return rules;
}

// NCCL and the device that it works on.
Status GroupImpl::find_nccl() {
  Result<nccl::LibraryPtr> library = nccl::load(options_.nccl_library);
  if (!library) return library.error();
  const bool gpu = options_.device.starts_with("cuda:");
  if (!(*library)->takes_host && !gpu)
    return {Code::kUnsupported, "transport nccl: " + (*library)->name + " needs a GPU, and none is named: device=cuda:N (REGROUP_DEVICE)" +
                                    (device::has_cuda() ? "" : ", in a build with CUDA, which this one is not")};
  NcclKeeper::Config config;
  const bool ours = stage_ && gpu != (*library)->takes_host;  // a stand-in wants a host device
  config.device = ours ? stage_->device() : device::make_host_device();
  config.library = std::move(*library);
  config.limit = Duration::from_ns(static_cast<std::int64_t>(options_.nccl_timeout_s * 1e9));
  config.known_dead = [here = locality()](const MemberInfo& m) {
    const Result<wire::MemberAddress> at = wire::decode_address(m.address);
    return at && at->host == here && here != 0 && at->pid > 0 && ::kill(at->pid, 0) != 0 && errno == ESRCH &&
           !lives_here(m.inc, at->death_socket, Duration::from_ms(1));
  };
  nccl_ = std::make_unique<NcclKeeper>(std::move(config));
  return {};
}

namespace {

// What `open` made, or its error.
template <class P>
Result<std::unique_ptr<Plane>> as_plane(Result<std::unique_ptr<P>> plane) {
  if (!plane) return plane.error();
  return std::unique_ptr<Plane>(std::move(*plane));
}

}  // namespace

Result<std::unique_ptr<Plane>> GroupImpl::open_base(const Decision& decision, std::size_t self, std::size_t& bad_peer) {
  if (decision.plane == PlaneKind::kShared) {
    if (!domain_) return Error{Code::kUnsupported, "no shared memory here"};
    return as_plane(ShmPlane::open(*domain_, staging_, *shm_pairs_, decision.view, self, bad_peer, options_.window));
  }
  const NetPlane::Config config{options_.staging_bytes, plan_rules(decision.view, decision.plane)};
  if (decision.plane == PlaneKind::kHybrid && options_.plan == "hierarchical") {
    const HybridPlane::Host host{domain_.get(), hybrid_staging_, shm_pairs_.get(), 2 * options_.window};
    return as_plane(HybridPlane::open(host, *links_, net_staging_, decision.view, self, config, bad_peer));
  }
  if (port_) return as_plane(NetDevicePlane::open(port_, *links_, net_staging_, decision.view, self, config));
  if (nccl_) return as_plane(NcclPlane::open(*nccl_, *links_, net_staging_, decision.view, self, config));
  return as_plane(NetPlane::open(*links_, net_staging_, decision.view, self, config));
}

Result<std::shared_ptr<Plane>> GroupImpl::open_plane(const Decision& decision, std::size_t self, std::size_t& bad_peer) {
  Result<std::unique_ptr<Plane>> plane = open_base(decision, self, bad_peer);
  if (!plane) return plane.error();
  if (seat_) {
    const bool shared = decision.plane == PlaneKind::kShared;
    plane = as_plane(DevicePlane::open(std::move(*plane), *seat_, *domain_, shared, decision.view, self, bad_peer));
    if (!plane) return plane.error();
  }
  return std::shared_ptr<Plane>(std::move(*plane));
}

}  // namespace regroup
