#include "base/log.h"

#include <spdlog/sinks/stdout_sinks.h>
#include <spdlog/spdlog.h>

#include <cstdlib>
#include <memory>
#include <string>

namespace regroup::log {
namespace {

spdlog::logger& logger() {
  // Leaked on purpose: worker threads may log while the process exits.
  static spdlog::logger& instance = *[] {
    auto* made = new spdlog::logger("regroup", std::make_shared<spdlog::sinks::stderr_sink_mt>());
    const char* level = std::getenv("REGROUP_LOG");
    made->set_level(level ? spdlog::level::from_str(level) : spdlog::level::warn);
    made->set_pattern("%Y-%m-%dT%H:%M:%S.%e %l pid=%P %v");
    made->flush_on(spdlog::level::info);
    return made;
  }();
  return instance;
}

spdlog::level::level_enum to_spdlog(Level level) { return static_cast<spdlog::level::level_enum>(level == Level::kOff ? 6 : static_cast<int>(level)); }

}  // namespace

bool enabled(Level level) noexcept { return logger().should_log(to_spdlog(level)); }

void write(Level level, std::string_view event, std::string_view fields) noexcept {
  try {
    if (enabled(level)) logger().log(to_spdlog(level), "{} {}", event, fields);
  } catch (...) {  // a full disk must not end a training run
  }
}

}  // namespace regroup::log
