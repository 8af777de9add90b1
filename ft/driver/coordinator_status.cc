// What `regroup status` shows, as JSON.
#include <unistd.h>

#include <nlohmann/json.hpp>

#include "base/clock.h"
#include "ft/driver/coordinator_state.h"
#include "transport/wire/address.h"

namespace regroup {
namespace {

using Json = nlohmann::ordered_json;

const char* phase_name(Coordinator::Phase phase) {
  constexpr const char* names[] = {"idle", "cutting", "wedging", "levelling", "logging"};
  return names[static_cast<std::size_t>(phase)];
}

Json json_of(const MemberInfo& info) {
  Json j;
  j["replica"] = info.id.replica;
  j["rank"] = info.id.rank;
  j["incarnation"] = to_string(info.inc);
  if (auto address = wire::decode_address(info.address); address.ok()) {
    j["host"] = address->data_host;
    j["pid"] = address->pid;
  }
  return j;
}

}  // namespace

std::string CoordinatorGroup::status_json(const Surroundings& server) const {
  const Instant at = now();
  auto describe = [&](const MemberInfo& info) {
    Json j = json_of(info);
    auto peer = core_.peers().find(info.inc);
    const bool known = peer != core_.peers().end();
    auto at_hand = bound_.find(info.inc);
    const bool connected = at_hand != bound_.end();
    j["state"] = core_.suspected().contains(info.inc) ? "suspected"
                 : !connected                         ? "lost"
                 : known && peer->second.leaving      ? "leaving"
                                                      : "alive";
    j["epoch"] = known ? peer->second.committed_epoch : 0;
    j["committed"] = known ? peer->second.committed : 0;
    if (!connected) return j;
    const Connection& c = *at_hand->second;
    j["heard_ms_ago"] = (at - c.heard).ms();
    Json data = Json::parse(c.status, nullptr, false);
    if (!data.is_discarded()) j["data"] = std::move(data);
    return j;
  };
  Json j;
  j["group"] = options_.group;
  j["coordinator"] = server.address;
  j["pid"] = ::getpid();
  j["log_id"] = std::to_string(log_.id());  // text: 64 bits do not fit a JSON number everywhere
  j["log_file"] = options_.log_file;
  j["uptime_ms"] = (at - started_).ms();
  j["phase"] = phase_name(core_.phase());
  const std::optional<Decision>& last = core_.last();
  j["epoch"] = last ? last->view.epoch : 0;
  j["trim"] = last ? last->trim : 0;
  j["plane"] = !last ? "none" : last->plane == PlaneKind::kShared ? "shared" : last->plane == PlaneKind::kNetwork ? "network" : "hybrid";
  j["reason"] = last ? last->reason : "";
  j["members"] = Json::array();
  if (last)
    for (const MemberInfo& m : last->view.members) j["members"].push_back(describe(m));
  j["observers"] = Json::array();
  for (const auto& [inc, peer] : core_.peers())
    if (!last || !last->view.contains(inc)) j["observers"].push_back(describe(peer.hello.self));
  j["events"] = Json::array();
  for (const CoordinatorEvent& e : events_) j["events"].push_back({{"ms_ago", (at - e.at).ms()}, {"event", e.text}});
  j["options"] = {{"suspicion_ms", options_.suspicion.ms()},
                  {"lost_grace_ms", options_.lost_grace.ms()},
                  {"wedge_deadline_ms", options_.wedge_deadline.ms()},
                  {"level_deadline_ms", options_.level_deadline.ms()},
                  {"secret", options_.secret.empty() ? "none" : "set"}};
  for (const auto& [inc, peer] : core_.peers()) j["config"] = peer.hello.config;  // equal for all, or refused
  j["sub_groups"] = server.subgroups;
  j["counters"] = {
      {"accepted", server.accepted}, {"bad_messages", server.bad_messages}, {"refused", server.refused}};
  return j.dump(-1, ' ', false, Json::error_handler_t::replace);
}

}  // namespace regroup
