// `regroup status`: members, epoch, states, last events.
#include <CLI/CLI.hpp>
#include <cstdio>
#include <cstdlib>
#include <memory>
#include <nlohmann/json.hpp>

#include "ft/driver/client.h"
#include "tools/regroup/commands.h"

namespace regroup::tools {
namespace {

using nlohmann::json;

void row(const json& m, const char* role) {
  std::printf("%-6u %-10s %-10s %-7llu %-12llu %-8.0f %s\n", m.value("replica", 0u), role,
              m.value("state", "?").c_str(), static_cast<unsigned long long>(m.value("epoch", 0ull)),
              static_cast<unsigned long long>(m.value("committed", 0ull)), m.value("heard_ms_ago", -1.0),
              m.value("incarnation", "").c_str());
}

int run(const CoordinatorAddress& to, bool as_json) {
  Result<std::string> answer = fetch_status(to, Duration::from_s(3));
  if (!answer) {
    std::fprintf(stderr, "regroup status: %s\n", answer.error().detail.c_str());
    return 1;
  }
  if (as_json) return std::printf("%s\n", answer->c_str()) > 0 ? 0 : 1;
  const json j = json::parse(*answer, nullptr, false);
  if (j.is_discarded()) {
    std::fprintf(stderr, "regroup status: the answer is not JSON\n");
    return 1;
  }
  std::printf("group %s  coordinator %s  epoch %llu  plane %s  phase %s  reason %s\n", j.value("group", "").c_str(),
              j.value("coordinator", "").c_str(), static_cast<unsigned long long>(j.value("epoch", 0ull)),
              j.value("plane", "").c_str(), j.value("phase", "").c_str(), j.value("reason", "").c_str());
  std::printf("%-6s %-10s %-10s %-7s %-12s %-8s %s\n", "rank", "role", "state", "epoch", "committed", "ms ago",
              "incarnation");
  for (const json& m : j.value("members", json::array())) row(m, "member");
  for (const json& m : j.value("observers", json::array())) row(m, "observer");
  for (const json& m : j.value("members", json::array())) {
    if (!m.contains("data") || !m["data"].contains("options")) continue;
    std::printf("options:");
    for (const auto& [key, value] : m["data"]["options"].items())
      std::printf(" %s=%s", key.c_str(), value.get<std::string>().c_str());
    std::printf("\n");
    break;
  }
  for (const json& e : j.value("events", json::array()))
    std::printf("%10.0f ms ago  %s\n", e.value("ms_ago", 0.0), e.value("event", "").c_str());
  return 0;
}

}  // namespace

void add_status(CLI::App& app, int& status) {
  auto to = std::make_shared<CoordinatorAddress>();
  auto as_json = std::make_shared<bool>(false);
  if (const char* where = std::getenv("REGROUP_COORDINATOR")) to->where = where;
  if (const char* secret = std::getenv("REGROUP_SECRET")) to->secret = secret;
  CLI::App* c = app.add_subcommand("status", "Show members, epoch, states and last events of a group");
  c->add_option("--coordinator", to->where, "host:port (else REGROUP_COORDINATOR)");
  c->add_option("--group", to->group, "refuse another group's coordinator");
  c->add_flag("--json", *as_json, "machine-readable");
  c->callback([to, as_json, &status] {
    if (to->where.empty()) {
      std::fprintf(stderr, "regroup status: no coordinator: pass --coordinator HOST:PORT or set REGROUP_COORDINATOR\n");
      status = 2;
    } else {
      status = run(*to, *as_json);
    }
  });
}

}  // namespace regroup::tools
