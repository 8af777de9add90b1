// Log facade: one line per membership event, key=value; never payloads or keys; nothing per op at the default level.
// Level from REGROUP_LOG (trace, debug, info, warn, error, off; default warn), to stderr. Thread-safe. spdlog behind it.
#pragma once

#include <string_view>

namespace regroup::log {

enum class Level { kTrace, kDebug, kInfo, kWarn, kError, kOff };

[[nodiscard]] bool enabled(Level level) noexcept;
// `event` is one word, `fields` a ready "key=value key=value" text.
void write(Level level, std::string_view event, std::string_view fields) noexcept;
inline void info(std::string_view event, std::string_view fields = {}) { write(Level::kInfo, event, fields); }
inline void warn(std::string_view event, std::string_view fields = {}) { write(Level::kWarn, event, fields); }
inline void error(std::string_view event, std::string_view fields = {}) { write(Level::kError, event, fields); }
inline void debug(std::string_view event, std::string_view fields = {}) { write(Level::kDebug, event, fields); }

}  // namespace regroup::log
