// Options: from the environment, from text, checks and the shared text.
#include "regroup/options.h"

#include <charconv>
#include <cstdlib>
#include <functional>
#include <sstream>

#include "base/failpoint.h"
#include "runtime/algo/route.h"

namespace regroup {
namespace {

constexpr double kMaxTimeoutS = 1e9;  // its nanoseconds fit a Duration

// "64M", "1G", "4096": bytes.
bool parse(std::string_view text, std::uint64_t& value) {
  std::uint64_t unit = 1;
  if (!text.empty() && std::string_view("kKmMgG").find(text.back()) != std::string_view::npos) {
    unit = text.back() == 'k' || text.back() == 'K' ? 1u << 10 : text.back() == 'm' || text.back() == 'M' ? 1u << 20 : 1u << 30;
    text.remove_suffix(1);
  }
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error != std::errc{} || end != text.data() + text.size() || text.empty()) return false;
  return !__builtin_mul_overflow(value, unit, &value);
}
bool parse(std::string_view text, double& value) {
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  return error == std::errc{} && end == text.data() + text.size() && !text.empty();
}
bool parse(std::string_view text, int& value) {
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  return error == std::errc{} && end == text.data() + text.size() && !text.empty();
}
bool parse(std::string_view text, std::uint32_t& value) {
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  return error == std::errc{} && end == text.data() + text.size() && !text.empty();
}
bool parse(std::string_view text, bool& value) {
  value = text == "1" || text == "true" || text == "yes" || text == "on";
  return value || text == "0" || text == "false" || text == "no" || text == "off";
}
bool parse(std::string_view text, std::string& value) { return value = text, true; }

std::string show(const std::string& v) { return v; }
std::string show(bool v) { return v ? "1" : "0"; }
template <class T>
std::string show(const T& v) {
  std::ostringstream out;
  out << v;
  return out.str();
}

// The one list of settable options: f(name, shared, field).
template <class Self, class F>
void each(Self& o, F f) {
  f("group", true, o.group);
  f("coordinator", false, o.coordinator);
  f("rank", false, o.rank);
  f("world_size", true, o.world_size);
  f("min_members", true, o.min_members);
  f("transport", true, o.transport);
  f("ucx_rails", false, o.ucx_rails);
  f("ucx_device", false, o.ucx_device);
  f("nccl_library", false, o.nccl_library);
  f("device", false, o.device);
  f("device_plans", false, o.device_plans);
  f("device_ctas", false, o.device_ctas);
  f("nccl_timeout_s", false, o.nccl_timeout_s);
  f("interface", false, o.interface);
  f("host_id", false, o.host_id);
  f("secret", false, o.secret);
  f("explicit_marks", true, o.explicit_marks);
  f("window", true, o.window);
  f("small_bytes", true, o.small_bytes);
  f("plan", true, o.plan);
  f("order", true, o.order);
  f("cost", false, o.cost);  // its figures are compared, not the name of a file
  f("staging_bytes", false, o.staging_bytes);
  f("join_timeout_s", false, o.join_timeout_s);
  f("wait_timeout_s", false, o.wait_timeout_s);
  f("unavailable_timeout_s", false, o.unavailable_timeout_s);
  f("auto_rejoin", false, o.auto_rejoin);
  f("no_commit", true, o.no_commit);
  f("failpoints", false, o.failpoints);
  f("trace_file", false, o.trace_file);
  f("snapshot_bytes", false, o.snapshot_bytes);
  f("feed_bytes", false, o.feed_bytes);
  f("catch_up_rate", false, o.catch_up_rate);
  f("catch_up_share", false, o.catch_up_share);
  f("journal_bytes", false, o.journal_bytes);
  f("spill_bytes", false, o.spill_bytes);
  f("spill_dir", false, o.spill_dir);
  f("checkpoint_dir", false, o.checkpoint_dir);
  f("checkpoint_every", true, o.checkpoint_every);
}

}  // namespace

Status Options::set(std::string_view key, std::string_view value) {
  Status status(Code::kConfig, "unknown option '" + std::string(key) + "'");
  each(*this, [&](const char* name, bool, auto& field) {
    if (key != name) return;
    status = parse(value, field) ? Status()
                                 : Status(Code::kConfig, "option " + std::string(key) + ": '" + std::string(value) + "' is not a valid value");
  });
  return status;
}

Result<Options> Options::from_environment() {
  Options options;
  for (const auto& [variable, key] : {std::pair{"RANK", "rank"}, {"WORLD_SIZE", "world_size"}})
    if (const char* value = std::getenv(variable))
      if (Status s = options.set(key, value); !s) return Error{Code::kConfig, std::string(variable) + ": " + s.error().detail};
  Status status;
  std::vector<std::string> names;
  each(options, [&](const char* name, bool, auto&) { names.emplace_back(name); });
  for (const std::string& name : names) {
    std::string variable = "REGROUP_";
    for (char c : name) variable += static_cast<char>(std::toupper(c));
    if (const char* value = std::getenv(variable.c_str()); value && status.ok())
      if (Status s = options.set(name, value); !s) status = Status(Code::kConfig, variable + ": " + s.error().detail);
  }
  if (!status) return status.error();
  return options;
}

std::vector<std::pair<std::string, std::string>> Options::effective() const {
  std::vector<std::pair<std::string, std::string>> all;
  each(*this, [&](const char* name, bool, const auto& field) {
    const bool hidden = std::string_view(name) == "secret" && !show(field).empty();
    all.emplace_back(name, hidden ? "****" : show(field));
  });
  return all;
}

std::string Options::shared_text() const {
  std::string text;
  each(*this, [&](const char* name, bool shared, const auto& field) {
    if (shared) text += (text.empty() ? "" : " ") + std::string(name) + "=" + show(field);
  });
  return text;
}

Status Options::validate() const {
  const auto bad = [](const std::string& what) { return Status(Code::kConfig, what); };
  if (group.empty() || group.size() > 128) return bad("group: a name of 1 to 128 characters is needed");
  if (rank < 0) return bad("rank: not set; pass Options::rank, REGROUP_RANK or RANK");
  if (world_size < 1 || world_size > 1024) return bad("world_size: " + std::to_string(world_size) + " is not in 1..1024 (REGROUP_WORLD_SIZE)");
  if (rank >= world_size) return bad("rank " + std::to_string(rank) + " is not below world_size " + std::to_string(world_size));
  if (min_members < 1 || min_members > world_size) return bad("min_members: " + std::to_string(min_members) + " is not in 1..world_size");
  if (transport != "auto" && transport != "shm" && transport != "tcp" && transport != "ucx" && transport != "nccl")
    return bad("transport: '" + transport + "' is none of auto, shm, tcp, ucx, nccl");
  if (plan != "auto" && !algo::form_named(plan)) return bad("plan: '" + plan + "' is none of auto, direct, small, ring, doubling, gather, hierarchical");
  if (order != "any" && order != "canonical") return bad("order: '" + order + "' is none of any, canonical");
  if (window < 2 || window > 32) return bad("window: " + std::to_string(window) + " is not in 2..32");
  if (ucx_rails > 8) return bad("ucx_rails: " + std::to_string(ucx_rails) + " is not in 0..8");
  if (ucx_device != "auto" && ucx_device != "always" && ucx_device != "never")
    return bad("ucx_device: '" + ucx_device + "' is none of auto, always, never");
  if (device_ctas < 1 || device_ctas > 1024) return bad("device_ctas: " + std::to_string(device_ctas) + " is not in 1..1024");
  if (small_bytes < 64 || small_bytes > (1u << 20)) return bad("small_bytes: not in 64..1M");
  if (!(catch_up_share >= 0 && catch_up_share <= 1)) return bad("catch_up_share: not in 0..1");
  if (staging_bytes < (1u << 20)) return bad("staging_bytes: at least 1M is needed");
  for (const double s : {join_timeout_s, wait_timeout_s, unavailable_timeout_s, nccl_timeout_s})
    if (!(s > 0 && s <= kMaxTimeoutS)) return bad("timeouts must be positive, and at most 1e9 s");
  for (std::size_t i = 0; i < state.size(); ++i) {
    if (state[i].name.empty() || state[i].name.size() > 255) return bad("state: a buffer's name must have 1 to 255 characters");
    if (state[i].bytes != 0 && state[i].data == nullptr) return bad("state '" + state[i].name + "': no address");
    for (std::size_t j = 0; j < i; ++j)
      if (state[j].name == state[i].name) return bad("state '" + state[i].name + "': named twice");
  }
  if (!blobs.empty() && !apply) return bad("blobs: they are caught up with only where apply is set");
  if (!checkpoint_dir.empty() && !apply) return bad("checkpoint_dir: checkpoints are written only where apply is set");
  for (const StateBlob& b : blobs)
    if (b.name.empty() || !b.save || !b.load) return bad("blob '" + b.name + "': a name, save and load are needed");
  for (const StateBuffer& b : state) {
    std::uint64_t bytes = size_of(b.type);
    for (std::uint64_t d : b.shape) bytes *= d;
    if (!b.shape.empty() && bytes != b.bytes)
      return bad("state '" + b.name + "': " + std::to_string(b.bytes) + " bytes, but its shape has " + std::to_string(bytes));
  }
  Failpoints check;
  return check.arm(failpoints);
}

}  // namespace regroup
