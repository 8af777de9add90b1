// Which group a connection is about: the coordinator's own, or a sub-group of it, served from the first hello on.
#include <dirent.h>
#include <unistd.h>

#include <algorithm>
#include <cstdio>

#include "base/clock.h"
#include "ft/driver/codec.h"
#include "ft/driver/coordinator_state.h"
#include "transport/wire/frame.h"

namespace regroup {
namespace {

constexpr std::size_t kMaxSubgroups = 1024;
constexpr const char* kSubgroup = ".sub-";
// A sub-group that nobody is connected to is put away: its log stays, unless all have left or it was never founded.
constexpr Duration kPutAway = Duration::from_ms(10'000);

}  // namespace

std::string CoordinatorServer::Impl::subgroup_log(const std::string& name) const {
  char hash[17];
  std::snprintf(hash, sizeof hash, "%016llx", static_cast<unsigned long long>(wire::group_hash(name)));
  return options_.log_file + kSubgroup + hash;
}

void remove_subgroup_logs(const std::string& log_file) {
  const std::size_t slash = log_file.rfind('/');
  const std::string folder = slash == std::string::npos ? "." : log_file.substr(0, slash + 1);
  const std::string begin = (slash == std::string::npos ? log_file : log_file.substr(slash + 1)) + kSubgroup;
  DIR* dir = ::opendir(folder.c_str());
  if (dir == nullptr) return;
  while (const dirent* entry = ::readdir(dir))
    if (std::string(entry->d_name).starts_with(begin)) ::unlinkat(::dirfd(dir), entry->d_name, 0);
  ::closedir(dir);
}

CoordinatorGroup* CoordinatorServer::Impl::known_group(const std::string& name) {
  if (name.empty() || name == options_.group) return &root_;
  const auto it = subgroups_.find(name);
  return it == subgroups_.end() ? nullptr : it->second.get();
}

// A hello to a sub-group that is not served yet: its log is opened, or, for one that knows no log, made.
Result<CoordinatorGroup*> CoordinatorServer::Impl::group_of(Connection& c, std::span<const std::byte> payload) {
  const std::string& name = c.auth.peer_group();
  if (CoordinatorGroup* known = known_group(name)) return known;
  auto message = decode_to_coordinator(payload);
  if (!message) return message.error();
  const auto* hello = std::get_if<Hello>(&*message);
  if (hello == nullptr) return {Code::kRefused, "a message before the hello"};
  Result<ViewLog> log = Error{Code::kUnavailable, "over " + std::to_string(kMaxSubgroups) + " sub-groups"};
  const std::string file = subgroup_log(name);
  if (subgroups_.size() < kMaxSubgroups)
    log =
        hello->log == 0 && ::access(file.c_str(), F_OK) != 0 ? ViewLog::create(file, name) : ViewLog::open(file, name);
  if (!log) return Error{Code::kUnavailable, "sub-group " + name + ": " + log.error().detail};
  CoordinatorOptions options = options_;
  options.group = name;
  options.log_file = file;
  root_.event("serves sub-group " + name);
  auto group = std::make_unique<CoordinatorGroup>(*this, std::move(options), std::move(*log));
  return (subgroups_[name] = std::move(group)).get();
}

Status CoordinatorServer::Impl::on_message(Connection& c, std::span<const std::byte> payload) {
  Result<CoordinatorGroup*> group = group_of(c, payload);
  if (!group && group.code() == Code::kUnavailable) {  // not the member's fault, and it should hear of it
    root_.event(group.error().detail);
    send(c, ControlFrame::kToMember, encode(ToMember{Refuse{Code::kRefused, group.error().detail}}));
    close_softly(c);
    return {};
  }
  if (!group) return group.error();
  c.group = *group;
  return c.group->on_message(c, payload);
}

std::string CoordinatorServer::Impl::status_json(Connection& c) {
  CoordinatorGroup::Surroundings here{address, accepted.load(), bad_messages.load(), refused.load(), {}};
  const CoordinatorGroup* group = known_group(c.auth.peer_group());
  if (group == nullptr) return "{}";
  if (group == &root_)
    for (const auto& [name, sub] : subgroups_) here.subgroups.push_back(name);
  return group->status_json(here);
}

void CoordinatorServer::Impl::tick_groups() {
  root_.tick();
  for (auto& [name, group] : subgroups_) group->tick();
  std::erase_if(subgroups_, [&](auto& entry) {
    CoordinatorGroup& group = *entry.second;
    const bool used =
        std::any_of(connections_.begin(), connections_.end(), [&](const auto& c) { return c.second->group == &group; });
    if (used || !group.failure().ok()) return false;
    if (group.left() ? group.deserted() < Duration::from_ms(500) : group.deserted() < kPutAway) return false;
    if (group.left() || !group.founded()) ::unlink(subgroup_log(entry.first).c_str());
    root_.event("puts sub-group " + entry.first + " away");
    return true;
  });
}

}  // namespace regroup
