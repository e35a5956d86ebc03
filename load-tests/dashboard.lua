-- wrk scenario: dashboards that read today's summary of random facilities. See README.md beside
-- this file.
--   FACILITIES  a file with one facility id a line (required)
--   THINK_MS    pause of each connection between an answer and its next request, in ms; 0 (default) asks again at once

local think_ms = tonumber(os.getenv("THINK_MS") or "0")
local requests = {}

-- Each thread has its own Lua state. Without its own seed, all threads would ask in the same order.
local threads = 0
function setup(thread)
   thread:set("number", threads)
   threads = threads + 1
end

function init()
   local file = os.getenv("FACILITIES") or error("FACILITIES must name a file with one facility id a line")
   for id in io.lines(file) do
      -- Requests are built once, so that the measurement is not that of the load generator.
      requests[#requests + 1] = wrk.format("GET", "/v1/facilities/" .. id .. "/summaries/today")
   end
   if #requests == 0 then error(file .. " is empty") end
   math.randomseed(number + 1)
end

function request()
   return requests[math.random(#requests)]
end

if think_ms > 0 then
   -- Pauses are spread evenly around the mean, so that the connections do not ask at the same time.
   function delay() return math.random(0, 2 * think_ms) end
end

function done(summary, latency)
   local errors = summary.errors
   local broken = errors.connect + errors.read + errors.write + errors.timeout
   print(string.format("answers %d, %.0f a second; not 2xx or 3xx: %d, broken: %d",
      summary.requests, summary.requests * 1e6 / summary.duration, errors.status, broken))
   print(string.format("latency ms: p50 %.2f  p99 %.2f  p99.9 %.2f  max %.2f",
      latency:percentile(50) / 1e3, latency:percentile(99) / 1e3, latency:percentile(99.9) / 1e3, latency.max / 1e3))
   if think_ms > 0 then
      print(string.format("closed loop, %d ms of thought on average: at most %.1f requests a second from each connection",
         think_ms, 1000 / think_ms))
   else
      print("closed loop without a pause: this is the most it answers; the latencies are those of a saturated server")
   end
end
