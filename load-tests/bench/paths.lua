-- wrk script: GETs random paths from the file that PATHS names. The file has one path a line.
local requests = {}

function init()
   for path in io.lines(os.getenv("PATHS")) do
      -- Requests are built once, so that the measurement is not that of the load generator.
      requests[#requests + 1] = wrk.format("GET", path)
   end
   math.randomseed(os.time())
end

function request()
   return requests[math.random(#requests)]
end
