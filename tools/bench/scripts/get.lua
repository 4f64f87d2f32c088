-- wrk: asks for one path after another.
-- Arguments: file of "WHAT TOKEN" lines, how many of them to pass over at the beginning, the path with %s for WHAT.

local requests, count, sent = {}, 0, 0

function init(args)
   for line in io.lines(args[1]) do
      local what, token = line:match("(%S+) (%S+)")
      count = count + 1
      requests[count] = "GET " .. string.format(args[3], what) .. " HTTP/1.1\r\nHost: " .. wrk.host .. ":" .. wrk.port
         .. "\r\nAuthorization: Bearer " .. token .. "\r\n\r\n"
   end
   sent = tonumber(args[2])
end

function request()
   sent = sent + 1
   return requests[(sent - 1) % count + 1]
end

function done(summary, latency, requests)
   local errors = summary.errors
   io.write(string.format(
      'RESULT {"requests":%d,"micros":%d,"p50":%d,"p99":%d,"max":%d,"refused":%d,"broken":%d}\n',
      summary.requests, summary.duration, latency:percentile(50), latency:percentile(99), latency.max,
      errors.status, errors.connect + errors.read + errors.write + errors.timeout))
end
