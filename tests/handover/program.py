# What a real program does: threads, children in every way, signals, and an exit status of its own.

import asyncio
import atexit
import concurrent.futures
import multiprocessing
import os
import queue
import signal
import subprocess
import sys
import tempfile
import threading


def square(number):
    return number * number


def child(connection, name):
    connection.send((name, os.getppid(), threading.current_thread() is threading.main_thread()))
    connection.close()
    sys.exit(4)


def threads():
    todo, done = queue.Queue(), queue.Queue()

    def work():
        while (item := todo.get()) is not None:
            done.put(square(item))

    workers = [threading.Thread(target=work) for _ in range(8)]
    for worker in workers:
        worker.start()
    for number in range(10000):
        todo.put(number)
    for _ in workers:
        todo.put(None)
    for worker in workers:
        worker.join()
    print("threads", sum(done.get() for _ in range(10000)))
    print("main", threading.get_native_id() == os.getpid(), threading.main_thread() is threading.current_thread())


def subprocesses():
    shell = subprocess.run(["sh", "-c", "echo $PPID; exit 5"], stdout=subprocess.PIPE, text=True)
    print("run", shell.returncode, int(shell.stdout) == os.getpid())
    print("check_output", subprocess.check_output(["tr", "a-z", "A-Z"], input=b"piped").decode())
    print("system", os.waitstatus_to_exitcode(os.system("exit 6")))
    with os.popen("echo popen") as output:
        print(output.read().strip())
    pid = os.fork()
    if pid == 0:
        os._exit(7 if threading.get_native_id() == os.getpid() else 8)
    print("fork", os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]))
    pid = os.posix_spawn("/bin/sh", ["sh", "-c", "exit 9"], os.environ)
    print("posix_spawn", os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]))


def multiprocesses():
    for name in ["fork", "spawn", "forkserver"]:
        context = multiprocessing.get_context(name)
        here, there = context.Pipe()
        process = context.Process(target=child, args=(there, name))
        process.start()
        told, parent, is_main = here.recv()
        process.join()
        print("multiprocessing", told, is_main, name == "forkserver" or parent == os.getpid(), process.exitcode)
    with multiprocessing.Pool(3) as pool:
        print("pool", pool.map(square, range(10)))
    with concurrent.futures.ProcessPoolExecutor(2) as executor:
        print("executor", sum(executor.map(square, range(100))))


def signals():
    got = []
    signal.signal(signal.SIGUSR1, lambda number, frame: got.append(number))
    os.kill(os.getpid(), signal.SIGUSR1)
    signal.raise_signal(signal.SIGUSR1)
    signal.pthread_kill(threading.get_ident(), signal.SIGUSR1)
    print("signals", len(got))
    signal.signal(signal.SIGALRM, lambda number, frame: got.append(number))
    signal.setitimer(signal.ITIMER_REAL, 0.01)
    signal.pause()
    print("alarm", len(got))


async def tasks():
    process = await asyncio.create_subprocess_exec("echo", "asyncio", stdout=asyncio.subprocess.PIPE)
    output, _ = await process.communicate()
    print(output.decode().strip(), process.returncode)
    loop = asyncio.get_running_loop()
    print("executor", await loop.run_in_executor(None, square, 12))


if __name__ == "__main__":
    atexit.register(print, "exit")
    threads()
    sys.stdout.flush()
    subprocesses()
    sys.stdout.flush()
    multiprocesses()
    signals()
    asyncio.run(tasks())
    with tempfile.TemporaryFile() as file:
        file.write(bytes(1 << 20))
        print("file", file.tell())
    try:
        raise RuntimeError("thrown")
    except RuntimeError as error:
        print(error)
    print("standard error", file=sys.stderr, flush=True)
    sys.exit(7)
